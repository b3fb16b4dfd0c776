"""Pauses between tries: longer each time, and never the same for two who wait.

>>> pauses = Backoff(random.Random(1), first_seconds=0.1, longest_seconds=1.0)
>>> 0.05 <= pauses.next_seconds() <= 0.1
True
"""

from __future__ import annotations

import random


class Backoff:
    """Exponential, with half of each pause left to chance."""

    def __init__(self, rng: random.Random, *, first_seconds: float = 0.05, longest_seconds: float = 2.0) -> None:
        self._rng = rng
        self._longest = longest_seconds
        self._seconds = first_seconds

    def next_seconds(self) -> float:
        """How long to wait before the next try."""
        seconds = self._seconds
        self._seconds = min(2 * seconds, self._longest)
        return seconds * self._rng.uniform(0.5, 1.0)
