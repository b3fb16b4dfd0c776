"""The database's time, as a scheduler beside it reads its clock.

Leases are written and swept by the database's clock alone (``View.now``).  What a scheduler judges outside of ticks
(how long it was away, which devices are there, whether a signature is still good) must go by the same clock, or a
machine whose own clock is wrong would judge wrongly, and two schedulers differently.  So its clock is its machine's,
put right by the difference to the database's, which is measured at the start and once a minute.

However large the difference is, it does no harm; but it is a fault of one of the machines, and is told: ``told`` is
called with each that people should hear of.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from corpgrid.errors import StoreError
from corpgrid.ports.host import Clock

WORTH_TELLING_SECONDS = 1.0
_EVERY_SECONDS = 60.0
_TRIES = 3

Read = Callable[[], Awaitable[float]]


class Skew(NamedTuple):
    """How far this machine's clock is from the database's.

    Attributes:
        seconds: the database's time less this machine's: above 0 this machine is behind.
        error_seconds: how far off that may be.
    """

    seconds: float
    error_seconds: float

    @property
    def is_worth_telling(self) -> bool:
        """Whether the clocks surely differ by more than clocks that are set by NTP ever do."""
        return abs(self.seconds) - self.error_seconds > WORTH_TELLING_SECONDS

    @property
    def story(self) -> str:
        """What is wrong, for people."""
        side = "behind" if self.seconds > 0 else "ahead of"
        return f"this machine's clock is {abs(self.seconds):,.1f} s {side} the database's"


REMEDY = "Set both clocks by NTP.  No lease is harmed: leases and schedulers go by the database's clock."


async def measure(own: Clock, read: Read) -> Skew:
    """Compare two clocks: of some tries the one counts whose answer came fastest.

    Args:
        own: this machine's.
        read: asks for the other's time.
    """
    return min([await _measure(own, read) for _ in range(_TRIES)], key=lambda skew: skew.error_seconds)


async def _measure(own: Clock, read: Read) -> Skew:
    started, asked_at = own.monotonic(), own.now()
    time = await read()
    half = (own.monotonic() - started) / 2
    return Skew(time - (asked_at + half), half)


class DatabaseClock:
    """A ``Clock`` that shows the database's time.

    Args:
        own: this machine's clock.
        read: asks the database for its time.
        told: called with a difference that people should hear of, and when it is gone.
    """

    def __init__(self, own: Clock, read: Read, told: Callable[[Skew], None] = lambda _: None) -> None:
        self.skew = Skew(0.0, 0.0)
        self._own = own
        self._read = read
        self._told = told
        self._told_seconds = 0.0

    def now(self) -> float:
        """Seconds since the epoch, by the database's clock."""
        return self._own.now() + self.skew.seconds

    def monotonic(self) -> float:
        """Seconds since some start."""
        return self._own.monotonic()

    async def adjust(self) -> None:
        """Measure the difference now.

        Raises:
            StoreError: the database does not answer; the last difference stays.
        """
        self.skew = skew = await measure(self._own, self._read)
        seconds = skew.seconds if skew.is_worth_telling else 0.0
        if abs(seconds - self._told_seconds) > WORTH_TELLING_SECONDS:
            self._told_seconds = seconds
            self._told(skew)

    async def keep(self) -> None:
        """Measure once a minute, until it is cancelled."""
        while True:
            await asyncio.sleep(_EVERY_SECONDS)
            try:
                await self.adjust()
            except StoreError:
                continue  # whoever ticks has said so
