"""Resource limits of the processes in a sandbox: the layer beneath the cgroup, and all there is without one.

They are set from outside on the sandbox's first process, while it is held back and before any code of a job runs; all
that it starts inherits them and can only lower them.

* ``RLIMIT_AS`` only where no cgroup accounts for memory and no GPU is granted: CUDA reserves far more addresses than it
  uses.  It stops the sudden allocation; the watch, which counts real memory, stops the slow one.
* ``RLIMIT_NPROC`` counts a user's processes *per user namespace* since Linux 5.14.  Set in the sandbox's namespace it
  counts the sandbox alone; on an older kernel it would count all that the user runs, and is left out.
"""

from __future__ import annotations

import platform
import resource
import subprocess
from collections.abc import Mapping

from corpgrid.errors import SandboxError
from corpgrid.host.sandbox_user import JobUser
from corpgrid.ports.sandbox import SandboxLimits

ADDRESS_SLACK_BYTES = 1 << 30
"""Addresses that a process may reserve beyond the memory it may use, for mapped libraries and files."""

TASK_ADDRESS_BYTES = 136 << 20
"""What a thread reserves and hardly uses: 8 MiB of stack, and 128 MiB while the C library places its arena."""

LOCKED_BYTES = 64 << 10
PRLIMIT = "/usr/bin/prlimit"
NAMES = {
    resource.RLIMIT_AS: "as",
    resource.RLIMIT_CORE: "core",
    resource.RLIMIT_FSIZE: "fsize",
    resource.RLIMIT_MEMLOCK: "memlock",
    resource.RLIMIT_NICE: "nice",
    resource.RLIMIT_NOFILE: "nofile",
    resource.RLIMIT_NPROC: "nproc",
    resource.RLIMIT_RTPRIO: "rtprio",
}
FIRST_PROCESS = 1
"""The sandbox's own first process, which reaps; it counts against the number of processes."""


def resource_limits(
    limits: SandboxLimits, *, gpus: bool, memory_accounted: bool, counts_per_namespace: bool
) -> dict[int, int]:
    """The limits by ``resource.RLIMIT_*``."""
    chosen = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: limits.work_bytes,
        resource.RLIMIT_NOFILE: limits.open_files,
        resource.RLIMIT_NICE: 0,
        resource.RLIMIT_RTPRIO: 0,
    }
    if not gpus:
        chosen[resource.RLIMIT_MEMLOCK] = LOCKED_BYTES
        if not memory_accounted:
            chosen[resource.RLIMIT_AS] = (
                limits.memory_bytes + ADDRESS_SLACK_BYTES + limits.processes * TASK_ADDRESS_BYTES
            )
    if counts_per_namespace:
        chosen[resource.RLIMIT_NPROC] = limits.processes + FIRST_PROCESS
    return chosen


def apply_resource_limits(pid: int, chosen: Mapping[int, int], user: JobUser | None) -> None:
    """Set them on a process of the sandbox's user, never above what this process has.

    Raises:
        SandboxError: the kernel refused.
    """
    lowered = {kind: _below_own(kind, value) for kind, value in chosen.items()}
    try:
        for kind, value in lowered.items():
            resource.prlimit(pid, kind, (value, value))
    except PermissionError:
        # Root without CAP_SYS_RESOURCE, as in most containers, may not; the process's own user always may.
        _apply_as_user(pid, lowered, user)
    except ProcessLookupError:
        return


def _below_own(kind: int, value: int) -> int:
    _, hard = resource.getrlimit(kind)
    return value if hard == resource.RLIM_INFINITY else min(value, hard)


def _apply_as_user(pid: int, lowered: Mapping[int, int], user: JobUser | None) -> None:
    argv = [PRLIMIT, "--pid", str(pid), *(f"--{NAMES[kind]}={value}:{value}" for kind, value in lowered.items())]
    try:
        subprocess.run(
            argv,
            env={},
            cwd="/",
            check=True,
            capture_output=True,
            user=None if user is None else user.uid,
            group=None if user is None else user.gid,
            extra_groups=None if user is None else [],
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise SandboxError(
            f"the sandbox's limits cannot be set: {error}",
            remedy="Give the agent CAP_SYS_RESOURCE, or install util-linux for its prlimit program.",
        ) from error


def counts_processes_per_namespace(release: str = "") -> bool:
    """Whether this kernel (or ``release``, such as ``6.1.0-13-amd64``) counts RLIMIT_NPROC per user namespace."""
    numbers = (release or platform.release()).split("-", maxsplit=1)[0].split(".")
    try:
        return (int(numbers[0]), int(numbers[1])) >= (5, 14)
    except (IndexError, ValueError):
        return False
