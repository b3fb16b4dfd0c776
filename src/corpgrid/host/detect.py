"""What this machine is, in the words of the grid.

Rules:

* A machine offers what its owner lends and what it has, whichever is less.  Lending 0 of something lends all of it.
* What it has is what this process may use: an affinity mask or a container's limits count, the machine's size does not.
* Operating systems are ``linux``, ``macos``, ``windows``, architectures ``x86_64``, ``arm64``; anything else is passed
  on as the system spells it, so that a job can still ask for it.
"""

from __future__ import annotations

import os
import platform
import shutil
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from corpgrid.domain.device import Facts
from corpgrid.ports.host import GpuProbe, ThermalProbe

CGROUPS = Path("/sys/fs/cgroup")

_OPERATING_SYSTEMS = {"Linux": "linux", "Darwin": "macos", "Windows": "windows"}
_ARCHITECTURES = {"amd64": "x86_64", "x86_64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}
_UNLIMITED_BYTES = 1 << 60  # cgroup v1 says "no limit" as the largest multiple of a page in 63 bits


@dataclass(frozen=True, slots=True, kw_only=True)
class Lent:
    """What an owner lends of a machine; 0 lends all there is.

    Attributes:
        folder: where the agent keeps its files; its disk is the one that counts.
    """

    folder: Path
    cpus: int = 0
    memory_bytes: int = 0
    disk_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineFacts:
    """The ``FactsProbe`` of a real machine.

    Attributes:
        python: minor version of the interpreter that runners use, such as ``3.11``.
        engines: engines that passed their self-test.
        sandbox: the sandbox that passed its self-test.
        labels: what the operator calls it.
    """

    lent: Lent
    python: str
    engines: tuple[str, ...]
    sandbox: str
    gpus: GpuProbe
    thermal: ThermalProbe
    agent_version: str
    labels: tuple[str, ...] = ()
    cgroups: Path = CGROUPS

    def facts(self) -> Facts:
        """Now."""
        return Facts(
            hostname=socket.gethostname(),
            operating_system=operating_system(platform.system()),
            architecture=architecture(platform.machine()),
            python=self.python,
            engines=self.engines,
            sandbox=self.sandbox,
            cpus=lent_of(cpus(self.cgroups), self.lent.cpus),
            memory_bytes=lent_of(memory_bytes(self.cgroups), self.lent.memory_bytes),
            disk_free_bytes=lent_of(disk_free_bytes(self.lent.folder), self.lent.disk_bytes),
            gpus=self.gpus.gpus(),
            labels=self.labels,
            thermal_headroom=self.thermal.headroom(),
            agent_version=self.agent_version,
        )


def lent_of(there: int, lent: int) -> int:
    """What is offered of ``there``, given what is lent (0: all)."""
    return min(there, lent) if lent > 0 else there


def operating_system(system: str) -> str:
    """Our name of what ``platform.system`` answers."""
    return _OPERATING_SYSTEMS.get(system, system.lower())


def architecture(machine: str) -> str:
    """Our name of what ``platform.machine`` answers."""
    return _ARCHITECTURES.get(machine.lower(), machine.lower())


def cpus(cgroups: Path = CGROUPS) -> int:
    """Cores that this process may use, at least 1."""
    affinity: Callable[[int], set[int]] | None = getattr(os, "sched_getaffinity", None)
    allowed = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    return max(min(allowed, _cgroup_cpus(cgroups, otherwise=allowed)), 1)


def memory_bytes(cgroups: Path = CGROUPS) -> int:
    """Memory that this process may use."""
    installed = int(psutil.virtual_memory().total)
    limits = (_number(cgroups / "memory.max"), _number(cgroups / "memory" / "memory.limit_in_bytes"))
    return min([installed, *(limit for limit in limits if 0 < limit < _UNLIMITED_BYTES)])


def disk_free_bytes(folder: Path) -> int:
    """Free disk under a folder, or under the nearest parent that exists."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(there).free


def _cgroup_cpus(cgroups: Path, *, otherwise: int) -> int:
    """Cores that a container's quota amounts to, rounded down."""
    quota, _, period = _text(cgroups / "cpu.max").partition(" ")
    if not quota:
        quota, period = _text(cgroups / "cpu" / "cpu.cfs_quota_us"), _text(cgroups / "cpu" / "cpu.cfs_period_us")
    if not (quota.isdecimal() and period.isdecimal() and int(period) > 0):
        return otherwise  # "max", "-1" or no cgroups at all
    return int(quota) // int(period)


def _number(path: Path) -> int:
    text = _text(path)
    return int(text) if text.isdecimal() else 0


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
