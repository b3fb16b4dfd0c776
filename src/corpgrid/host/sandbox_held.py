"""Bubblewrap, started but held back: the world is built, nothing of the job has run.

It waits for its system call filter.  `HeldSandbox.release` sends it; an end without that (an error here, or the agent's
death) leaves it an empty filter, which the kernel refuses, so that the sandbox ends without having run anything.
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

from corpgrid.errors import SandboxError
from corpgrid.host.sandbox_bwrap import explain_failure
from corpgrid.host.sandbox_pipes import PipeReader, PipeWriter, pipe
from corpgrid.host.sandbox_tree import ProcessTree, open_tree
from corpgrid.host.sandbox_user import JobUser

OUTPUT_BYTES = 1 << 20
LOG_BYTES = 64 << 10
SETUP_SECONDS = 10.0
LOOK_SECONDS = 0.0005
UMASK = 0o022

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
        status: descriptor with its status lines; the end takes it over after `release`.
        stdin: to the command, likewise ``stdout`` and ``log`` from it.
    """

    def __init__(self, outer: subprocess.Popen[bytes], ends: _Ends) -> None:
        self.outer = outer
        self.status = ends.status
        self.stdin = PipeWriter(ends.stdin)
        self.stdout = PipeReader(ends.stdout, chunk_bytes=OUTPUT_BYTES)
        self.log = PipeReader(ends.log, chunk_bytes=LOG_BYTES)
        self._gate = ends.gate
        self._first_line = b""
        os.set_blocking(ends.status, False)

    async def world(self) -> ProcessTree:
        """The sandbox's processes, once its world is built.

        Raises:
            SandboxError: it could not be built; says why.
        """
        deadline = time.monotonic() + SETUP_SECONDS
        handle = -1
        while time.monotonic() < deadline:
            if handle < 0:
                handle = self._first_process()
            tree = open_tree(self._first_pid(), handle) if handle >= 0 else None
            if tree is not None:
                return tree
            if self.outer.poll() is not None:
                break
            await asyncio.sleep(LOOK_SECONDS)
        if handle >= 0:
            os.close(handle)
        raise self._failure()

    def release(self, program: bytes) -> None:
        """Let the command run, under this filter."""
        with suppress(BrokenPipeError):  # it has ended in the meantime: its exit tells
            os.write(self._gate, program)
        os.close(self._gate)

    def abandon(self) -> None:
        """End it and let go of everything, unreleased."""
        self.outer.kill()
        self.outer.wait()
        os.close(self._gate)
        os.close(self.status)
        for end in (self.stdin, self.stdout, self.log):
            end.finish()

    def _first_process(self) -> int:
        """The pidfd of the sandbox's first process, or -1 while it is not known."""
        with suppress(BlockingIOError):
            self._first_line += os.read(self.status, 4096)
        if b"\n" not in self._first_line:
            return -1
        pid = self._first_pid()
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            return -1
        if _parent(pid) == self.outer.pid:
            return handle
        os.close(handle)
        return -1

    def _first_pid(self) -> int:
        return int(json.loads(self._first_line.split(b"\n", maxsplit=1)[0])["child-pid"])

    def _failure(self) -> SandboxError:
        self.outer.kill()
        self.outer.wait()
        self.log.finish()
        return explain_failure(self.log.rest().decode("utf-8", "replace"))


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
        status_write, status = _pair(theirs, ours, user, 0, writes=False)
        outer = _popen(
            argv(gate_read, status_write),
            user,
            pass_fds=(gate_read, status_write),
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
            argv,
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
