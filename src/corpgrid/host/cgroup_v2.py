"""Control groups of version 2: one tree, in which the agent needs a part of its own (``Delegate=yes``).

Only leaves may hold processes.  So the agent moves itself into a leaf of its own before the first sandbox's is made; it
does so only where it is alone in its group, as in its own service or scope.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from corpgrid.errors import SandboxError
from corpgrid.host import cgroup

WANTED = frozenset({"memory", "pids", "cpu"})
AGENT_LEAF = "corpgrid-agent"
CPU_WEIGHT = 25
"""A quarter of the default: where the owner's programs want the processor, they have it."""

LOOK_SECONDS = 0.0005


class CgroupV2:
    """One sandbox's group."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, pid: int) -> None:
        """Move a process in."""
        cgroup.write(self._folder / "cgroup.procs", str(pid))

    def out_of_memory(self) -> bool:
        """Whether the kernel ended a process for the memory limit."""
        return _flat(self._folder / "memory.events").get("oom_kill", "0") != "0"

    @contextmanager
    def frozen(self, *, seconds: float) -> Iterator[bool]:
        """Hold every process while the block runs."""
        freeze = self._folder / "cgroup.freeze"
        with suppress(OSError):
            freeze.write_text("1")
        try:
            yield self._is_frozen(seconds=seconds)
        finally:
            with suppress(OSError):
                freeze.write_text("0")

    def _is_frozen(self, *, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if _flat(self._folder / "cgroup.events").get("frozen") == "1":
                return True
            time.sleep(LOOK_SECONDS)
        return False

    def remove(self) -> None:
        """Remove it."""
        cgroup.remove([self._folder])


class CgroupsV2:
    """Makes groups below the agent's own.

    Args:
        own: the agent's folder.

    Raises:
        SandboxError: the agent shares its group with other processes.
    """

    def __init__(self, own: Path) -> None:
        self._own = own
        self._controllers = WANTED & _words(own / "cgroup.controllers")
        missing = self._controllers - _words(own / "cgroup.subtree_control")
        if missing:
            _leave(own)
            cgroup.write(own / "cgroup.subtree_control", " ".join(f"+{name}" for name in sorted(missing)))

    @property
    def accounts_memory(self) -> bool:
        """Whether a group's memory is limited."""
        return "memory" in self._controllers

    @property
    def counts_tasks(self) -> bool:
        """Whether a group's processes and threads are limited."""
        return "pids" in self._controllers

    def create(self, limits: cgroup.CgroupLimits) -> CgroupV2:
        """Make a group with the limits set."""
        folder = self._own / cgroup.new_name()
        group = CgroupV2(folder)
        try:
            folder.mkdir()
            self._set_limits(folder, limits)
        except BaseException:
            group.remove()
            raise
        return group

    def _set_limits(self, folder: Path, limits: cgroup.CgroupLimits) -> None:
        if self.accounts_memory:
            cgroup.write(folder / "memory.max", str(limits.memory_bytes))
            with suppress(SandboxError):  # a kernel without swap accounting has no such file
                cgroup.write(folder / "memory.swap.max", "0")
        if self.counts_tasks:
            cgroup.write(folder / "pids.max", str(limits.tasks))
        if "cpu" in self._controllers:
            cgroup.write(folder / "cpu.weight", str(CPU_WEIGHT))

    def sweep(self) -> int:
        """End and remove what agents that are gone have left."""
        stale = cgroup.stale_groups(self._own)
        for folder in stale:
            with suppress(SandboxError):  # cgroup.kill came with Linux 5.14
                cgroup.write(folder / "cgroup.kill", "1")
            cgroup.end_members(folder)
        cgroup.remove(stale)
        return len(stale)


def _leave(own: Path) -> None:
    """Move this process into a leaf, so that its group may share out controllers."""
    others = _words(own / "cgroup.procs") - {str(os.getpid())}
    if others:
        raise SandboxError(
            f"the agent shares its control group {own} with {len(others)} other processes",
            remedy="Run it as its own service or scope: systemd-run --user --scope -p Delegate=yes corpgrid agent run.",
        )
    leaf = own / AGENT_LEAF
    leaf.mkdir(exist_ok=True)
    cgroup.write(leaf / "cgroup.procs", str(os.getpid()))


def _words(path: Path) -> frozenset[str]:
    try:
        return frozenset(path.read_text().split())
    except OSError:
        return frozenset()


def _flat(path: Path) -> dict[str, str]:
    """A file of ``name value`` lines."""
    try:
        return dict(line.split(maxsplit=1) for line in path.read_text().splitlines())
    except (OSError, ValueError):
        return {}
