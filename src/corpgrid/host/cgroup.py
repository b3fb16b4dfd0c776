"""Control groups: one for each sandbox, below the agent's own.

Version 2 is used where memory is delegated to the agent, else version 1, controller by controller; where neither can be
written there are none, and the sandbox's watch takes their place.

A group's name tells whose it is (``corpgrid.PID.START.N``), so that the groups of an agent that was killed are known,
emptied and removed by the next one.
"""

from __future__ import annotations

import itertools
import os
import signal
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple, Protocol

from corpgrid.errors import SandboxError
from corpgrid.host.sandbox_orphans import is_alive, own_identity

PREFIX = "corpgrid."
REMOVE_SECONDS = 2.0
RETRY_SECONDS = 0.005

_numbers = itertools.count(1)


class CgroupLimits(NamedTuple):
    """What a group may take."""

    memory_bytes: int
    tasks: int


class Cgroup(Protocol):
    """One sandbox's group."""

    def add(self, pid: int) -> None:
        """Move a process in; what it starts from now on is in, too."""

    def out_of_memory(self) -> bool:
        """Whether the kernel ended a process for the group's memory limit."""

    def frozen(self, *, seconds: float) -> AbstractContextManager[bool]:
        """Hold every process in the group while the block runs; whether all stood still within ``seconds``."""

    def remove(self) -> None:
        """Remove it; its processes are gone."""


class Cgroups(Protocol):
    """Where groups are made."""

    @property
    def accounts_memory(self) -> bool:
        """Whether a group's memory is limited."""

    @property
    def counts_tasks(self) -> bool:
        """Whether a group's processes and threads are limited."""

    def create(self, limits: CgroupLimits) -> Cgroup:
        """Make a group with the limits set."""

    def sweep(self) -> int:
        """End and remove what agents that are gone have left; how many groups."""


def new_name() -> str:
    """A name that no other group of this host has or had."""
    return f"{PREFIX}{own_identity()}.{next(_numbers)}"


def is_stale(name: str) -> bool:
    """Whether ``name`` is of a group whose agent is gone."""
    parts = name.removeprefix(PREFIX).split(".")
    is_group = name.startswith(PREFIX) and len(parts) == 3 and all(map(str.isdigit, parts))
    return is_group and not is_alive(parts[0], parts[1])


def stale_groups(parent: Path) -> list[Path]:
    """The folders below ``parent`` that an agent which is gone has left."""
    try:
        return [folder for folder in parent.iterdir() if is_stale(folder.name)]
    except OSError:
        return []


def write(path: Path, value: str) -> None:
    """Write one value to a control file.

    Raises:
        SandboxError: the kernel refused it.
    """
    try:
        path.write_text(value)
    except OSError as error:
        raise SandboxError(f"{path} did not take {value!r}: {error.strerror}") from error


def remove(folders: Iterable[Path]) -> None:
    """Remove groups whose processes are on their way out; one that will not go is left to the next sweep."""
    deadline = time.monotonic() + REMOVE_SECONDS
    for folder in folders:
        while folder.exists():
            try:
                folder.rmdir()
            except OSError:
                if time.monotonic() > deadline:
                    break
                time.sleep(RETRY_SECONDS)


def end_members(folder: Path) -> None:
    """SIGKILL to every process in a group, until there is none."""
    deadline = time.monotonic() + REMOVE_SECONDS
    while (pids := _members(folder)) and time.monotonic() < deadline:
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(RETRY_SECONDS)


def _members(folder: Path) -> list[int]:
    try:
        return [int(line) for line in (folder / "cgroup.procs").read_text().split()]
    except OSError:
        return []
