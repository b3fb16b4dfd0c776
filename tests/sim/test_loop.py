"""The loop itself: time jumps, order is kept, a sleeper stands still, the dead do nothing."""

from __future__ import annotations

import asyncio

import pytest

from corpgrid.sim.clocks import SimClock
from corpgrid.sim.loop import GRAIN_SECONDS, Process, SimLoop


def live(story):
    loop = SimLoop()
    try:
        return loop.run_until_complete(story(loop))
    finally:
        loop.close()
        assert loop.faults == []


def test_a_day_takes_no_time():
    async def story(loop):
        await asyncio.sleep(86_400.0)
        return loop.time()

    assert 86_400.0 <= live(story) < 86_400.1


def test_timers_fire_in_the_order_of_their_times_and_callbacks_in_the_order_of_asking():
    async def story(loop):
        heard = []
        for seconds in (3.0, 1.0, 2.0, 1.0):
            loop.call_later(seconds, heard.append, (seconds, len(heard)))
        for word in "abc":
            loop.call_soon(heard.append, word)
        await asyncio.sleep(4.0)
        return heard

    assert live(story) == ["a", "b", "c", (1.0, 0), (1.0, 0), (2.0, 0), (3.0, 0)]


def test_whoever_waits_for_a_moment_reaches_it():
    """However small the rest: moments are multiples of a grain, and every round costs one."""

    async def story(loop):
        due = loop.time() + 0.1 + GRAIN_SECONDS / 3
        rounds = 0
        while loop.time() < due:
            rounds += 1
            await asyncio.sleep(max(due - loop.time(), 0.0))
        return rounds

    assert live(story) <= 3


def test_asyncio_itself_works_on_it():
    async def story(loop):
        async with asyncio.TaskGroup() as group:
            slow = group.create_task(asyncio.sleep(5.0, "slow"))
            inline = group.create_task(asyncio.to_thread(lambda: "inline"))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.0):
                await asyncio.Event().wait()
        return slow.result(), inline.result()

    assert live(story) == ("slow", "inline")


def test_who_waits_for_nothing_is_told():
    async def story(loop):
        await asyncio.Event().wait()

    loop = SimLoop()
    with pytest.raises(RuntimeError, match="stands still"):
        loop.run_until_complete(story(loop))


def test_a_sleeper_stands_still_and_goes_on_where_it_was():
    async def story(loop):
        process, clock, ticks = Process(loop, "laptop"), SimClock(loop), []

        async def tick():
            while True:
                await asyncio.sleep(1.0)
                ticks.append(loop.time())

        process.spawn(tick())
        await asyncio.sleep(2.5)
        before = clock.monotonic()
        process.sleep()
        clock.stand_still()
        await asyncio.sleep(3_600.0)
        assert len(ticks) == 2
        assert clock.monotonic() == before
        process.wake()
        clock.go_on()
        await asyncio.sleep(1.5)
        process.kill()
        await asyncio.sleep(10.0)
        return len(ticks)

    assert live(story) == 4


def test_the_dead_do_nothing():
    async def story(loop):
        process, heard = Process(loop, "pc"), []

        async def work():
            child = asyncio.create_task(asyncio.sleep(5.0))  # belongs to the same process
            await child
            heard.append("worked")

        process.spawn(work())
        await asyncio.sleep(1.0)
        process.kill()
        await asyncio.sleep(10.0)
        return heard

    assert live(story) == []


def test_what_nobody_catches_is_kept():
    async def story(loop):
        loop.call_soon(lambda: 1 / 0)
        await asyncio.sleep(1.0)
        return list(loop.faults), loop.faults.clear()

    faults, _ = live(story)
    assert len(faults) == 1
    assert "ZeroDivisionError" in faults[0]
