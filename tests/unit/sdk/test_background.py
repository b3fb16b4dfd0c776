"""A loop in a thread: results, errors, interrupts, and an end after which nothing is left."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from corpgrid.errors import UnavailableError, UsageError
from corpgrid.sdk import background
from corpgrid.sdk.background import BackgroundLoop


@pytest.fixture
def loop() -> Iterator[BackgroundLoop]:
    loop = BackgroundLoop()
    yield loop
    loop.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "corpgrid-client"]


async def answer(value: int) -> int:
    await asyncio.sleep(0)
    return value


async def fail(error: Exception) -> None:
    raise error


class Forever:
    """Work that ends only by being cancelled."""

    def __init__(self) -> None:
        self.started = threading.Event()
        self.cancelled = threading.Event()

    async def run(self) -> None:
        self.started.set()
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise


def test_what_it_gives_and_raises(loop: BackgroundLoop) -> None:
    assert loop.run(answer(7)) == 7
    for error in (UnavailableError("nobody"), TimeoutError("its own")):
        with pytest.raises(type(error), match=str(error)):
            loop.run(fail(error))


def test_an_interrupt_cancels_the_work_and_the_loop_goes_on(
    loop: BackgroundLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = Forever()
    monkeypatch.setattr(background, "_LOOK_SECONDS", 0.01)

    def interrupted() -> None:
        work.started.wait()
        raise KeyboardInterrupt  # as the interpreter raises it: anywhere in the wait

    with pytest.raises(KeyboardInterrupt):
        loop.run(work.run(), hopeless=interrupted)  # type: ignore[arg-type]
    assert work.cancelled.wait(10)
    assert loop.run(answer(7)) == 7


def test_a_wait_that_has_become_useless_ends(loop: BackgroundLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "_LOOK_SECONDS", 0.01)
    work = Forever()
    with pytest.raises(UnavailableError, match="the grid is gone"):
        loop.run(work.run(), hopeless=lambda: UnavailableError("the grid is gone"))
    assert work.cancelled.wait(10)


def test_closing_ends_what_others_wait_for() -> None:
    loop, work = BackgroundLoop(), Forever()
    last = threading.Event()

    async def goodbye() -> None:
        last.set()

    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(loop.run, work.run())
        assert work.started.wait(10)
        loop.close(goodbye)
        with pytest.raises(UsageError, match="this grid was closed"):
            waiting.result()
    assert work.cancelled.is_set()
    assert last.is_set()
    loop.close(goodbye)


def test_nothing_can_be_run_after_the_end() -> None:
    loop = BackgroundLoop()
    loop.close()
    with pytest.raises(UsageError, match="this grid was closed"):
        loop.run(answer(7))
