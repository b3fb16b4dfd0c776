"""Where strangers' code runs: what a sandbox is asked for, and what it promises."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxLimits:
    """What one runner may take; enforced by the strongest means the host has."""

    memory_bytes: int
    processes: int
    work_bytes: int
    work_files: int
    open_files: int = 1024
    tmp_bytes: int = 256 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxSpec:
    """One runner's world.  Nothing of the host that is not named here is visible inside.

    Attributes:
        argv: the command, as seen inside.
        env: its whole environment.
        read_only: host folder or file to the path at which it is seen, read-only.
        work: host folder that becomes ``/work``, writable, the working folder.
        network: whether the host's network is granted.
        gpus: indexes of GPUs granted.
    """

    argv: tuple[str, ...]
    work: Path
    limits: SandboxLimits
    env: Mapping[str, str] = field(default_factory=dict)
    read_only: Mapping[Path, str] = field(default_factory=dict)
    network: bool = False
    gpus: tuple[int, ...] = ()


class SandboxExit(NamedTuple):
    """How a sandboxed process ended.

    Attributes:
        code: exit status, or minus the signal.
        reason: ``exited``, ``signal``, ``memory_bytes``, ``processes``, ``work_bytes``, ``work_files``, ``killed``.
    """

    code: int
    reason: str


class SandboxProcess(Protocol):
    """A running sandbox.  Its standard input and output are the control pipes, its standard error the log."""

    @property
    def pid(self) -> int:
        """Of the outermost process, on the host."""

    async def write(self, data: bytes) -> None:
        """To its standard input; waits while the pipe is full."""

    async def read(self) -> bytes:
        """At most 1 MiB of its standard output; empty at its end."""

    async def read_log(self) -> bytes:
        """At most 64 KiB of its standard error; empty at its end."""

    def freeze(self) -> None:
        """Stop every process in it, at once; the caller may be sure when it returns."""

    def thaw(self) -> None:
        """Let them go on."""

    def kill(self) -> None:
        """End every process in it; nothing survives."""

    async def wait(self) -> SandboxExit:
        """Until everything in it is gone and reaped."""


class Gate(NamedTuple):
    """One canary probe of a sandbox's self-test."""

    name: str
    passed: bool
    detail: str = ""
    remedy: str = ""


class Sandbox(Protocol):
    """Runs a command that can touch nothing it was not given."""

    name: str

    async def self_test(self) -> list[Gate]:
        """Canary probes through the real sandbox; the agent takes no jobs unless all pass."""

    async def start(self, spec: SandboxSpec) -> SandboxProcess:
        """Start a command.

        Raises:
            SandboxError: it cannot be started.
        """
