"""What happened, one line an event, and a digest of all lines: two runs that did the same have the same digest."""

from __future__ import annotations

from collections import deque
from hashlib import blake2b

from corpgrid.sim.loop import SimLoop

_KEPT = 50


class Trace:
    """The log of a simulation.

    Attributes:
        events: how many lines there were.
    """

    def __init__(self, loop: SimLoop) -> None:
        self.events = 0
        self._loop = loop
        self._last: deque[tuple[float, str]] = deque(maxlen=_KEPT)
        self._digest = blake2b(digest_size=16)

    def note(self, line: str) -> None:
        """Something happened."""
        now = self._loop.time()
        self.events += 1
        self._last.append((now, line))
        self._digest.update(b"%.6f %s\n" % (now, line.encode()))

    def last(self) -> list[str]:
        """The last lines, oldest first."""
        return [f"{now:12.3f}  {line}" for now, line in self._last]

    def digest(self) -> str:
        """Of everything so far."""
        return self._digest.hexdigest()
