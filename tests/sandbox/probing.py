"""How the escape and abuse tests try things: from inside the real sandbox, and again with one layer taken away.

A probe is Python source that calls ``attempt(name, function)`` or ``call(name, number, *arguments)``; what each came to
is printed as JSON when it ends: ``ok``, an errno's name, or another exception's.
"""

from __future__ import annotations

import json
import os
import platform
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from corpgrid.host import sandbox_linux
from corpgrid.host.sandbox_argv import Plumbing, bwrap_argv
from corpgrid.host.sandbox_linux import LinuxSandbox
from corpgrid.ports.sandbox import SandboxLimits, SandboxProcess, SandboxSpec
from tests.contracts.sandbox import MIB, Outcome, finish

LIMITS = SandboxLimits(memory_bytes=96 * MIB, processes=32, work_bytes=8 * MIB, work_files=2_000, tmp_bytes=16 * MIB)
REFUSED = {"EPERM", "EACCES", "EROFS", "ENOENT", "ENOSYS"}

needs_x86_64 = pytest.mark.skipif(platform.machine() != "x86_64", reason="system calls are tried by x86-64's numbers")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has a job user to drop to")

PRELUDE = """
import atexit, ctypes, errno, json, os, signal, socket, sys, time
libc = ctypes.CDLL(None, use_errno=True)
found = {}
def attempt(name, function):
    try: value = function(); found[name] = 'ok' if value is None else value
    except OSError as error: found[name] = errno.errorcode.get(error.errno, str(error))
    except BaseException as error: found[name] = type(error).__name__
def call(name, number, *arguments):
    words = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    found[name] = 'ok' if libc.syscall(ctypes.c_long(number), *words) != -1 else errno.errorcode[ctypes.get_errno()]
def report():
    os.write(1, json.dumps(found).encode()); found.clear()
atexit.register(report)
"""

# Without a filter there is no gate that holds the start back: so the layer is taken away by a filter that allows all.
ALLOW_ALL = struct.pack("=HBBI", 0x06, 0, 0, 0x7FFF_0000)


def host_status(pid: int) -> str:
    """What the host says of a process; nothing if it is gone."""
    try:
        return Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return ""


class Prober:
    """Runs probes in one sandbox.

    Attributes:
        sandbox: the adapter.
        folder: an open folder of the host.
        python: the interpreter inside.
    """

    def __init__(self, sandbox: LinuxSandbox, python: str, folder: Path) -> None:
        self.sandbox = sandbox
        self.folder = folder
        self.python = python
        self._works = 0

    async def start(self, source: str, *arguments: str, **spec: object) -> SandboxProcess:
        """Start a program in a new work folder."""
        self._works += 1
        work = self.folder / f"work-{self._works}"
        work.mkdir(mode=0o700)
        argv = (self.python, "-I", "-S", "-c", source, *arguments)
        settings: dict[str, object] = {"argv": argv, "work": work, "limits": LIMITS, **spec}
        return await self.sandbox.start(SandboxSpec(**settings))  # type: ignore[arg-type]

    @property
    def work(self) -> Path:
        """The last program's work folder."""
        return self.folder / f"work-{self._works}"

    async def run(self, source: str, *arguments: str, **spec: object) -> Outcome:
        """Run a program to its end."""
        return await finish(await self.start(source, *arguments, **spec))

    async def probe(self, source: str, *arguments: str, **spec: object) -> dict[str, object]:
        """Run a probe; what each attempt came to."""
        outcome = await self.run(PRELUDE + source, *arguments, **spec)
        assert outcome.out, outcome
        found = json.loads(outcome.out)
        assert isinstance(found, dict)
        return found


@contextmanager
def without_filter(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The system call filter taken away."""
    with monkeypatch.context() as patch:
        patch.setattr(sandbox_linux, "filter_program", lambda **_: ALLOW_ALL)
        yield


@contextmanager
def without_flags(monkeypatch: pytest.MonkeyPatch, *flags: str, added: tuple[str, ...] = ()) -> Iterator[None]:
    """Some of bubblewrap's flags taken away, each named as one string with its arguments, or others added."""

    def thinner(spec: SandboxSpec, plumbing: Plumbing) -> list[str]:
        argv = bwrap_argv(spec, plumbing)
        for flag in flags:
            words = flag.split()
            at = next(n for n in range(len(argv)) if argv[n : n + len(words)] == words)
            del argv[at : at + len(words)]
        at = argv.index("--seccomp")
        return [*argv[:at], *added, *argv[at:]]

    with monkeypatch.context() as patch:
        patch.setattr(sandbox_linux, "bwrap_argv", thinner)
        yield


@contextmanager
def as_root(prober: Prober) -> Iterator[None]:
    """The job user taken away: the sandbox stays root on the host."""
    user, prober.sandbox.user = prober.sandbox.user, None
    try:
        yield
    finally:
        prober.sandbox.user = user
