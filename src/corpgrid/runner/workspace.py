"""The working folder of the task that runs, and what becomes of the files that it leaves.

Every task starts in an empty folder, ``out``.  If it leaves anything there, the folder is renamed to
``task-<index>-<attempt>`` beside it for the agent to collect, and the next task gets a new one.

Most tasks leave nothing, and listing a folder costs more than all else that is done for one of them.  So a folder that
was seen empty is listed again only if its *stamp* has changed: which folder it is, and when it was last changed.  A
change may hide behind a stamp only within one tick of the file system's clock; therefore a stamp is trusted once that
clock has moved on since, which a look at the folder above tells.
"""

# ruff: noqa: PTH102, PTH104, PTH116, PTH208 - importing pathlib is a quarter of a runner's start, and this is on every task's path

from __future__ import annotations

import os

_Stamp = tuple[int, int, int]
"""Nanoseconds at its last change, device, number."""
_STAMPS_TELL = os.name == "posix"
"""Elsewhere ``st_ctime`` is not the time of the last change."""


class Workspace:
    """The folder ``/work`` inside the sandbox."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._out = f"{root}/out"
        self._empty: _Stamp | None = None

    def enter(self) -> None:
        """Make the working folder the current one, whatever the last task did to either."""
        try:
            os.chdir(self._out)
        except FileNotFoundError:
            os.mkdir(self._out, mode=0o755)
            os.chdir(self._out)

    def set_aside(self, index: int, attempt: int) -> bool:
        """Keep what the task left; whether there was anything.

        Raises:
            OSError: the folder cannot be renamed.
        """
        if self._empty is not None and _stamp(".") == self._empty:
            return False
        self._empty = None
        self.enter()
        stamp = _stamp(".")  # before the look: what comes after it changes the next one
        left = bool(os.listdir("."))
        if left:
            os.rename(self._out, f"{self._root}/task-{index}-{attempt}")
            self.enter()
        elif _STAMPS_TELL and self._clock() > stamp[0]:
            self._empty = stamp
        return left

    def _clock(self) -> int:
        """What time the file system writes to a folder that changes now."""
        os.utime(self._root)
        return os.stat(self._root).st_ctime_ns


def _stamp(path: str) -> _Stamp:
    status = os.stat(path)
    return status.st_ctime_ns, status.st_dev, status.st_ino
