"""A deadline that can stand still, and costs next to nothing to move: it is moved after every task.

The loop's timer is left where it is when the deadline moves away from it; when it fires too early, it is set again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Countdown:
    """Calls ``on_end`` once when the time that was set has run, unless it is stopped or set anew before."""

    def __init__(self, on_end: Callable[[], None]) -> None:
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._deadline: float | None = None
        self._left: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.paused = False

    def start(self, seconds: float) -> None:
        """Run for so long from now, or from when it is resumed."""
        if self.paused:
            self._left = seconds
            return
        self._deadline = self._loop.time() + seconds
        if self._timer is None or self._timer.when() > self._deadline:
            self._set_timer(self._deadline)

    def stop(self) -> None:
        """Run no more."""
        self._deadline = self._left = None

    def close(self) -> None:
        """Stop, and leave nothing in the loop."""
        self.stop()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def pause(self) -> None:
        """Stand still."""
        if not self.paused:
            self.paused = True
            self._left = None if self._deadline is None else self._deadline - self._loop.time()
            self._deadline = None

    def resume(self) -> None:
        """Go on."""
        if self.paused:
            self.paused = False
            left, self._left = self._left, None
            if left is not None:
                self.start(left)

    def _set_timer(self, deadline: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(deadline, self._fire)

    def _fire(self) -> None:
        self._timer = None
        if self._deadline is None:
            return
        if self._loop.time() < self._deadline:
            self._set_timer(self._deadline)
            return
        self._deadline = None
        self._on_end()
