"""Clocks of simulated computers: each tells its own time.

* The wall clock runs fast or slow by its *drift*, stands off by an offset, and steps when somebody sets it.
* The monotonic clock never steps; it stands still while its computer sleeps, as that of most systems does.
"""

from __future__ import annotations

from corpgrid.sim.loop import SimLoop

START = 1_800_000_000.0 - 1_800_000_000.0 % (7 * 86_400) + 4 * 86_400.0
"""Seconds since the epoch at which every simulation begins: a Monday, 00:00 UTC."""


class SimClock:
    """``Clock`` on virtual time."""

    def __init__(self, loop: SimLoop, *, drift: float = 0.0, offset_seconds: float = 0.0) -> None:
        self._loop = loop
        self._drift = drift
        self._offset = offset_seconds
        self._stood_still = 0.0
        self._still_since: float | None = None

    def now(self) -> float:
        """Seconds since the epoch; may step."""
        return START + self._offset + self._loop.time() * (1.0 + self._drift)

    def monotonic(self) -> float:
        """Seconds awake since some start; never steps back."""
        return (self._loop.time() if self._still_since is None else self._still_since) - self._stood_still

    def step(self, seconds: float) -> None:
        """Somebody set the clock."""
        self._offset += seconds

    def stand_still(self) -> None:
        """The computer falls asleep."""
        if self._still_since is None:
            self._still_since = self._loop.time()

    def go_on(self) -> None:
        """It wakes."""
        if self._still_since is not None:
            self._stood_still += self._loop.time() - self._still_since
            self._still_since = None
