"""The limits that no kernel enforces here, looked at ten times a second, cheaply.

* memory and processes, where there is no control group: from the sandbox's own ``/proc``;
* the work folder's size and number of files, always: two numbers of its file system tell whether it can have grown
  enough to matter; only then, or after a while, its tree is walked (in a thread, a twentieth of the time at most).
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from corpgrid.host import sandbox_usage
from corpgrid.host.sandbox_tree import ProcessTree
from corpgrid.ports.sandbox import SandboxLimits

TICK_SECONDS = 0.1
WALK_SECONDS_MIN = 2.0
WALK_SHARE = 20
GROWTH_SHARE = 8
"""The tree is walked once its file system has grown by this part of what is left."""


class Watch:
    """Watches one sandbox.

    Args:
        tree: its processes.
        work: its work folder on the host.
        limits: what it may take.
        memory: whether memory is to be watched, too.
        tasks: whether processes are to be watched, too.
    """

    def __init__(self, tree: ProcessTree, work: Path, limits: SandboxLimits, *, memory: bool, tasks: bool) -> None:
        self._tree = tree
        self._work = work
        self._limits = limits
        self._memory = memory
        self._tasks = tasks
        self._device = work.stat().st_dev
        self._usage = sandbox_usage.WorkUsage()
        self._disk_before = _disk_used(work)
        self._next_walk = time.monotonic() + WALK_SECONDS_MIN

    async def exceeded(self) -> str:
        """The name of the limit that is exceeded now, or nothing."""
        if self._memory and sandbox_usage.memory_bytes(self._tree, enough=self._limits.memory_bytes) > (
            self._limits.memory_bytes
        ):
            return "memory_bytes"
        if self._tasks and sandbox_usage.task_count(self._tree) > self._limits.processes:
            return "processes"
        return await self.work_exceeded() if self._worth_a_walk() else ""

    async def work_exceeded(self) -> str:
        """The same for the work folder alone, which is walked."""
        self._disk_before = _disk_used(self._work)
        started = time.monotonic()
        self._usage, deleted = await asyncio.to_thread(self._measure)
        ended = time.monotonic()
        self._next_walk = ended + max(WALK_SECONDS_MIN, (ended - started) * WALK_SHARE)
        if self._usage.size_bytes + deleted > self._limits.work_bytes:
            return "work_bytes"
        return "work_files" if self._usage.files > self._limits.work_files else ""

    def _measure(self) -> tuple[sandbox_usage.WorkUsage, int]:
        usage = sandbox_usage.work_usage(self._work, files_max=self._limits.work_files)
        return usage, sandbox_usage.deleted_bytes(self._tree, self._device)

    def _worth_a_walk(self) -> bool:
        size, files = _disk_used(self._work)
        size_before, files_before = self._disk_before
        size_left = self._limits.work_bytes - self._usage.size_bytes
        files_left = self._limits.work_files - self._usage.files
        grown = (size - size_before) * GROWTH_SHARE > size_left or (files - files_before) * GROWTH_SHARE > files_left
        return grown or time.monotonic() > self._next_walk


def _disk_used(folder: Path) -> tuple[int, int]:
    """Bytes and inodes in use on a folder's file system; a file system without numbered inodes says 0."""
    usage = os.statvfs(folder)
    return (usage.f_blocks - usage.f_bfree) * usage.f_frsize, usage.f_files - usage.f_ffree
