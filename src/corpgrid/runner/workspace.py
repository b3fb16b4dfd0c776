"""The working folder of the task that runs, and what becomes of the files that it leaves.

Every task starts in an empty folder, ``out``.  If it leaves anything there, the folder is renamed to
``task-<index>-<attempt>`` beside it for the agent to collect, and the next task gets a new one.
"""

from __future__ import annotations

import os
from pathlib import Path


class Workspace:
    """The folder ``/work`` inside the sandbox."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._out = str(Path(root) / "out")

    def enter(self) -> None:
        """Make the working folder the current one, whatever the last task did to either."""
        try:
            os.chdir(self._out)
        except FileNotFoundError:
            Path(self._out).mkdir(mode=0o755)
            os.chdir(self._out)

    def set_aside(self, index: int, attempt: int) -> bool:
        """Keep what the task left; whether there was anything.

        Raises:
            OSError: the folder cannot be renamed.
        """
        try:
            left = bool(os.listdir(self._out))  # noqa: PTH208 - one call, on the path of every task
        except FileNotFoundError:
            left = False
        if left:
            Path(self._out).rename(Path(self._root) / f"task-{index}-{attempt}")
        self.enter()
        return left
