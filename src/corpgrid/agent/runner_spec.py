"""The world of a runner: which folders it sees, under which environment and limits it starts.

Runners are alike on every device, so that equal tasks give equal results: one hash seed, UTF-8, UTC, and as many
threads as the task was granted cores.  Nothing is seeded in the job's stead: randomness is the job's own affair.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from corpgrid.domain.job import Limits
from corpgrid.ports.sandbox import SandboxLimits, SandboxSpec

START = ("-s", "-P", "-S", "-B", "-X", "utf8", "/runtime/start.py", "/job", "/env", "/work")
"""No user or site packages, nothing from the current folder; the environment holds what ``ENVIRONMENT`` says, and is
read, for the sake of the hash seed."""

ENVIRONMENT: Mapping[str, str] = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "HOME": "/tmp",  # noqa: S108 - inside the sandbox
    "TMPDIR": "/tmp",  # noqa: S108 - inside the sandbox
    "LANG": "C.UTF-8",
    "TZ": "UTC",
    "PYTHONHASHSEED": "0",
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
}
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "BLIS_NUM_THREADS",
)
_TASKS_AHEAD = 4
"""A runner goes on while what its last tasks left is collected."""
_SPARE_FILES = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerPlace:
    """Where a runner works: its interpreter, and the folders of the host that it sees.

    Attributes:
        python: the interpreter, as seen inside the sandbox.
        runtime: made by ``agent.runtime``; seen as ``/runtime``.
        work: its own, writable; seen as ``/work``.
        job: the bundle's files; seen as ``/job``.
        environment: packages of the job; seen as ``/env``.
        inputs: seen as ``/in``.
        also: more folders, to the path at which each is seen: what the interpreter needs.
    """

    python: str
    runtime: Path
    work: Path
    job: Path
    environment: Path | None = None
    inputs: Path | None = None
    also: Mapping[Path, str] = field(default_factory=dict)

    def read_only(self) -> dict[Path, str]:
        """All but ``work``."""
        named = {self.runtime: "/runtime", self.job: "/job", self.environment: "/env", self.inputs: "/in"}
        return {**self.also, **{folder: inside for folder, inside in named.items() if folder is not None}}


def sandbox_limits(limits: Limits) -> SandboxLimits:
    """What the runner of such tasks may take; the limits of each output are checked when it is collected."""
    return SandboxLimits(
        memory_bytes=limits.memory_bytes,
        processes=limits.processes,
        work_bytes=_TASKS_AHEAD * limits.output_bytes,
        work_files=_TASKS_AHEAD * limits.output_files + _SPARE_FILES,
    )


def runner_spec(
    place: RunnerPlace, limits: SandboxLimits, *, cpus: int = 1, network: bool = False, gpus: tuple[int, ...] = ()
) -> SandboxSpec:
    """How to start a runner.

    Args:
        place: its interpreter and folders.
        limits: what it may take.
        cpus: cores that one task is granted.
        network: whether the host's network is granted.
        gpus: indexes of GPUs granted.
    """
    threads = dict.fromkeys(THREAD_VARIABLES, str(cpus))
    return SandboxSpec(
        argv=(place.python, *START),
        work=place.work,
        limits=limits,
        env={**ENVIRONMENT, **threads},
        read_only=place.read_only(),
        network=network,
        gpus=gpus,
    )
