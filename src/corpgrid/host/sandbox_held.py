"""Bubblewrap, started but held back, so that nothing of a job runs before everything that confines it is in place.

It is held twice, and each time an agent that dies instead of going on makes it end:

1. `HeldSandbox.world`: the world is built, and bubblewrap waits for its system call filter.  Now limits are set from
   outside.  An end of the pipe is an empty filter, which the kernel refuses.
2. `HeldSandbox.release`: the filter is sent, and the command waits for an empty line on its standard input, which is
   sent once the sandbox's first process is tied to bubblewrap's outer one, hence to the agent.  It has its filter only
   after that: so its filter tells.

Status lines go to a file in memory, not to a pipe: bubblewrap would end by a write that nobody reads just when its
child waits for it, and leave that child waiting for ever.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple

from corpgrid.errors import RunnerError, SandboxError
from corpgrid.host.sandbox_bwrap import explain_failure
from corpgrid.host.sandbox_orphans import own_mark
from corpgrid.host.sandbox_pipes import PipeReader, PipeWriter, pipe
from corpgrid.host.sandbox_tree import ProcessTree, open_tree
from corpgrid.host.sandbox_user import JobUser

OUTPUT_BYTES = 1 << 20
LOG_BYTES = 64 << 10
SETUP_SECONDS = 10.0
LOOK_SECONDS = 0.0005
UMASK = 0o022
GO = b"\n"

Argv = Callable[[int, int], list[str]]
"""Bubblewrap's command line, given the descriptors of the filter and of the status lines."""


class _Ends(NamedTuple):
    """The ends of the pipes that stay here."""

    gate: int
    stdin: int
    stdout: int
    log: int
    status: int


class HeldSandbox:
    """One start; `spawn` makes it.

    Attributes:
        outer: bubblewrap's outer process.
        status: descriptor of its status lines; whoever takes the process over after `release` closes it.
        stdin: to the command, likewise ``stdout`` and ``log`` from it.
    """

    def __init__(self, outer: subprocess.Popen[bytes], ends: _Ends) -> None:
        self.outer = outer
        self.status = ends.status
        self.stdin = PipeWriter(ends.stdin)
        self.stdout = PipeReader(ends.stdout, chunk_bytes=OUTPUT_BYTES)
        self.log = PipeReader(ends.log, chunk_bytes=LOG_BYTES)
        self._gate = ends.gate

    async def world(self) -> ProcessTree:
        """The sandbox's processes, once its world is built.

        Raises:
            SandboxError: it could not be built; says why.
        """
        deadline = time.monotonic() + SETUP_SECONDS
        first = None
        while time.monotonic() < deadline:
            first = first or self._first_process()
            tree = open_tree(*first) if first is not None else None
            if tree is not None:
                return tree
            if self.outer.poll() is not None:
                break
            await asyncio.sleep(LOOK_SECONDS)
        if first is not None:
            os.close(first[1])
        raise self._failure()

    async def release(self, program: bytes, tree: ProcessTree) -> None:
        """Let the command run, under this filter.

        Raises:
            SandboxError: the sandbox ended.
        """
        deadline = time.monotonic() + SETUP_SECONDS
        with suppress(BrokenPipeError):  # it has ended: seen below
            os.write(self._gate, program)
        self._close_gate()
        while not tree.is_filtered("1"):
            if self.outer.poll() is not None or time.monotonic() > deadline:
                raise self._failure()
            await asyncio.sleep(LOOK_SECONDS)
        with suppress(RunnerError):  # it has ended: whoever waits for its end learns why
            await self.stdin.write(GO)

    def _close_gate(self) -> None:
        if self._gate >= 0:
            os.close(self._gate)
            self._gate = -1

    def abandon(self) -> None:
        """End it and let go of everything, unreleased."""
        self.outer.kill()
        self.outer.wait()
        self._close_gate()
        os.close(self.status)
        for end in (self.stdin, self.stdout, self.log):
            end.finish()

    def _first_process(self) -> tuple[int, int] | None:
        """The sandbox's first process and its pidfd, or None while it is not known."""
        line, ended, _ = os.pread(self.status, 4096, 0).partition(b"\n")
        if not ended:
            return None
        pid = int(json.loads(line)["child-pid"])
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            return None
        if _parent(pid) == self.outer.pid:
            return pid, handle
        os.close(handle)
        return None

    def _failure(self) -> SandboxError:
        self.outer.kill()
        self.outer.wait()
        self.log.finish()
        complaint = self.log.rest().decode("utf-8", "replace")
        return explain_failure(complaint or f"its world was not there within {SETUP_SECONDS:g} s")


def spawn(argv: Argv, user: JobUser | None) -> HeldSandbox:
    """Start bubblewrap as ``user`` (None: as this process's own), with nothing of this process's but five pipe ends.

    Raises:
        SandboxError: the process cannot be started.
    """
    with ExitStack() as theirs, ExitStack() as ours:
        gate_read, gate = _pair(theirs, ours, user, 0, writes=True)
        stdin_read, stdin = _pair(theirs, ours, user, OUTPUT_BYTES, writes=True)
        stdout_write, stdout = _pair(theirs, ours, user, OUTPUT_BYTES, writes=False)
        log_write, log = _pair(theirs, ours, user, LOG_BYTES, writes=False)
        status = os.memfd_create("corpgrid-status", os.MFD_CLOEXEC)
        ours.callback(os.close, status)
        outer = _popen(
            argv(gate_read, status),
            user,
            pass_fds=(gate_read, status),
            stdio=(stdin_read, stdout_write, log_write),
        )
        ours.pop_all()
        return HeldSandbox(outer, _Ends(gate, stdin, stdout, log, status))


def _pair(theirs: ExitStack, ours: ExitStack, user: JobUser | None, size: int, *, writes: bool) -> tuple[int, int]:
    """A pipe as (its end, our end); ``writes`` tells whether we write."""
    reading, writing = pipe(size_bytes=size, owner=user)
    their_end, our_end = (reading, writing) if writes else (writing, reading)
    theirs.callback(os.close, their_end)
    ours.callback(os.close, our_end)
    return their_end, our_end


def _popen(
    argv: list[str], user: JobUser | None, *, pass_fds: tuple[int, ...], stdio: tuple[int, int, int]
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            [own_mark(), *argv[1:]],
            executable=argv[0],
            stdin=stdio[0],
            stdout=stdio[1],
            stderr=stdio[2],
            pass_fds=pass_fds,
            env={},
            cwd="/",
            umask=UMASK,
            start_new_session=True,
            user=None if user is None else user.uid,
            group=None if user is None else user.gid,
            extra_groups=None if user is None else [],
        )
    except (OSError, subprocess.SubprocessError) as error:
        whom = "" if user is None else f" as the job user {user.uid}"
        raise SandboxError(f"bubblewrap cannot be started{whom}: {error}") from error


def _parent(pid: int) -> int:
    try:
        line = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return 0
    return int(line[line.rfind(")") + 2 :].split()[1])
