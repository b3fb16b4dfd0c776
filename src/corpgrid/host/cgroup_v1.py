"""Control groups of version 1: one tree for each controller, each used if it can be written.

A frozen process of version 1 cannot even be killed.  So the freezer is held only for the moment in which every process
is sent a stop signal, never longer.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from corpgrid.host import cgroup

CONTROLLERS = ("freezer", "memory", "pids", "cpu")
"""The freezer first: a sweep thaws before it kills."""

CPU_SHARES = 256
"""A quarter of what a process has by default: where the owner's programs want the processor, they have it."""

LOOK_SECONDS = 0.0005


class CgroupV1:
    """One sandbox's groups, by controller."""

    def __init__(self, folders: Mapping[str, Path]) -> None:
        self._folders = folders

    def add(self, pid: int) -> None:
        """Move a process in."""
        for folder in self._folders.values():
            cgroup.write(folder / "cgroup.procs", str(pid))

    def out_of_memory(self) -> bool:
        """Whether the kernel ended a process for the memory limit."""
        if "memory" not in self._folders:
            return False
        try:
            lines = (self._folders["memory"] / "memory.oom_control").read_text().splitlines()
        except OSError:
            return False
        return any(line.startswith("oom_kill ") and line != "oom_kill 0" for line in lines)

    @contextmanager
    def frozen(self, *, seconds: float) -> Iterator[bool]:
        """Hold every process while the block runs."""
        if "freezer" not in self._folders:
            yield False
            return
        state = self._folders["freezer"] / "freezer.state"
        with suppress(OSError):
            state.write_text("FROZEN")
        try:
            yield _reads(state, "FROZEN", seconds=seconds)
        finally:
            with suppress(OSError):
                state.write_text("THAWED")

    def remove(self) -> None:
        """Remove it."""
        cgroup.remove(self._folders.values())


class CgroupsV1:
    """Makes groups below the agent's own.

    Args:
        own: the agent's folder by controller.
    """

    def __init__(self, own: Mapping[str, Path]) -> None:
        self._own = own

    @property
    def accounts_memory(self) -> bool:
        """Whether a group's memory is limited."""
        return "memory" in self._own

    @property
    def counts_tasks(self) -> bool:
        """Whether a group's processes and threads are limited."""
        return "pids" in self._own

    def create(self, limits: cgroup.CgroupLimits) -> CgroupV1:
        """Make a group with the limits set."""
        name = cgroup.new_name()
        folders = {controller: folder / name for controller, folder in self._own.items()}
        group = CgroupV1(folders)
        try:
            for folder in folders.values():
                folder.mkdir()
            _set_limits(folders, limits)
        except BaseException:
            group.remove()
            raise
        return group

    def sweep(self) -> int:
        """End and remove what agents that are gone have left."""
        stale = {controller: cgroup.stale_groups(folder) for controller, folder in self._own.items()}
        for folder in stale.get("freezer", ()):
            cgroup.write(folder / "freezer.state", "THAWED")
        for folders in stale.values():
            for folder in folders:
                cgroup.end_members(folder)
            cgroup.remove(folders)
        return max(map(len, stale.values()), default=0)


def _set_limits(folders: Mapping[str, Path], limits: cgroup.CgroupLimits) -> None:
    if "memory" in folders:
        cgroup.write(folders["memory"] / "memory.limit_in_bytes", str(limits.memory_bytes))
        with_swap = folders["memory"] / "memory.memsw.limit_in_bytes"
        if with_swap.exists():
            cgroup.write(with_swap, str(limits.memory_bytes))
    if "pids" in folders:
        cgroup.write(folders["pids"] / "pids.max", str(limits.tasks))
    if "cpu" in folders:
        cgroup.write(folders["cpu"] / "cpu.shares", str(CPU_SHARES))


def _reads(path: Path, value: str, *, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if path.read_text().strip() == value:
                return True
        except OSError:
            return False
        time.sleep(LOOK_SECONDS)
    return False
