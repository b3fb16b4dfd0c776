"""The only module that reads the wall clock; everything else is told the time.

There is no way to set or fake this clock: a test passes another ``Clock``, or the moment itself.
"""

from __future__ import annotations

import time


class SystemClock:
    """The machine's own clocks; the only ``Clock`` outside the simulator."""

    def now(self) -> float:
        """Seconds since the epoch; may step."""
        return time.time()  # noqa: TID251  # this adapter is what the ban on time.time points everybody to

    def monotonic(self) -> float:
        """Seconds since some start; never steps back."""
        return time.monotonic()
