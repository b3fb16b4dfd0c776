"""The deadline that stands still while its runner does."""

from __future__ import annotations

import asyncio

from corpgrid.agent.countdown import Countdown


async def fired_after(countdown_seconds: float, fired: asyncio.Event) -> bool:
    try:
        async with asyncio.timeout(countdown_seconds):
            await fired.wait()
    except TimeoutError:
        return False
    return True


async def test_it_ends_once():
    fired = asyncio.Event()
    ends = []
    countdown = Countdown(lambda: (ends.append(1), fired.set()))
    countdown.start(0.01)
    assert await fired_after(5, fired)
    fired.clear()
    assert not await fired_after(0.03, fired)
    assert ends == [1]


async def test_it_moves_both_ways():
    fired = asyncio.Event()
    countdown = Countdown(fired.set)
    countdown.start(0.02)
    countdown.start(60)
    assert not await fired_after(0.05, fired)
    countdown.start(0.01)
    assert await fired_after(5, fired)


async def test_it_stops():
    fired = asyncio.Event()
    countdown = Countdown(fired.set)
    countdown.start(0.01)
    countdown.stop()
    assert not await fired_after(0.03, fired)
    countdown.close()


async def test_it_stands_still_while_paused():
    fired = asyncio.Event()
    countdown = Countdown(fired.set)
    countdown.start(0.03)
    countdown.pause()
    assert not await fired_after(0.06, fired)
    countdown.resume()
    assert await fired_after(5, fired)


async def test_what_is_started_while_paused_waits_for_the_resume():
    fired = asyncio.Event()
    countdown = Countdown(fired.set)
    countdown.pause()
    countdown.start(0.01)
    assert not await fired_after(0.03, fired)
    countdown.resume()
    assert await fired_after(5, fired)


async def test_a_stop_while_paused_is_not_undone_by_the_resume():
    fired = asyncio.Event()
    countdown = Countdown(fired.set)
    countdown.start(0.01)
    countdown.pause()
    countdown.stop()
    countdown.resume()
    assert not await fired_after(0.03, fired)
