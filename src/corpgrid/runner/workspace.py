"""The working folder of the task that runs, and what becomes of the files that it leaves.

Every task starts in an empty folder, ``out``.  If it leaves anything there, the folder is renamed to
``task-<index>-<attempt>`` beside it for the agent to collect, and the next task gets a new one.
"""

# ruff: noqa: PTH102, PTH104, PTH208 - importing pathlib is a quarter of a runner's start, and this is on every task's path

from __future__ import annotations

import os


class Workspace:
    """The folder ``/work`` inside the sandbox."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._out = f"{root}/out"

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
        try:
            left = bool(os.listdir(self._out))
        except FileNotFoundError:
            left = False
        if left:
            os.rename(self._out, f"{self._root}/task-{index}-{attempt}")
        self.enter()
        return left
