"""A sandbox that runs: its pipes, its stop and go, and its end.

One task watches over it from its start to its end.  Whatever ends first (the command, its first process, the agent's
event loop), everything else of it is ended, reaped and removed before that task is done.
"""

from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass

from corpgrid.errors import SandboxError
from corpgrid.host.cgroup import Cgroup
from corpgrid.host.sandbox_pipes import PipeReader, PipeWriter
from corpgrid.host.sandbox_tree import ProcessTree
from corpgrid.host.sandbox_watch import TICK_SECONDS, Watch
from corpgrid.ports.sandbox import SandboxExit

CHASE_SECONDS = 0.02
FREEZER_SECONDS = 0.1
FREEZE_SECONDS = 0.5
END_SECONDS = 10.0
SIGNAL_BASE = 128
"""A shell's and bubblewrap's way to say that a command ended by a signal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a running sandbox consists of; all of it is closed with the sandbox.

    Attributes:
        outer: bubblewrap's outer process, and ``outer_handle`` its pidfd.
        tree: all that runs below it.
        status: descriptor of the file in which bubblewrap tells whether it ran the command; None where nothing tells.
        stdin: to the command's standard input.
        stdout: from its standard output.
        log: from its standard error.
        watch: looks for exceeded limits.
        cgroup: the control group, if there is one.
    """

    outer: subprocess.Popen[bytes]
    outer_handle: int
    tree: ProcessTree
    status: int | None
    stdin: PipeWriter
    stdout: PipeReader
    log: PipeReader
    watch: Watch
    cgroup: Cgroup | None


class LinuxProcess:
    """A `SandboxProcess`."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._reason = ""
        self._frozen = False
        self._ended = False
        self._ran = True
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"sandbox {parts.outer.pid}")

    @property
    def pid(self) -> int:
        """Of the outermost process, on the host."""
        return self._parts.outer.pid

    async def write(self, data: bytes) -> None:
        """To its standard input; waits while the pipe is full.

        Raises:
            RunnerError: it has ended.
        """
        await self._parts.stdin.write(data)

    async def read(self) -> bytes:
        """At most 1 MiB of its standard output; empty at its end."""
        return await self._parts.stdout.read()

    async def read_log(self) -> bytes:
        """At most 64 KiB of its standard error; empty at its end."""
        return await self._parts.log.read()

    def freeze(self) -> None:
        """Stop every process in it; a sandbox that cannot be stopped in time is ended, for the owner comes first."""
        if self._ended or self._frozen:
            return
        self._frozen = True
        tree, cgroup = self._parts.tree, self._parts.cgroup
        if tree.stop(deadline=time.monotonic() + CHASE_SECONDS):
            return
        # They fork faster than one can look.  While the freezer holds them, none gets away from the signals.
        with cgroup.frozen(seconds=FREEZER_SECONDS) if cgroup is not None else nullcontext():
            tree.signal_all(signal.SIGSTOP)
        if not tree.stop(deadline=time.monotonic() + FREEZE_SECONDS):
            self.kill()

    def thaw(self) -> None:
        """Let them go on."""
        if self._frozen and not self._ended:
            self._parts.tree.signal_all(signal.SIGCONT)
        self._frozen = False

    def kill(self) -> None:
        """End every process in it; nothing survives."""
        self._end("killed")

    async def wait(self) -> SandboxExit:
        """Until everything in it is gone and reaped.

        Raises:
            SandboxError: the command could not be run inside; the log says why.
        """
        return await asyncio.shield(self._task)

    def _end(self, reason: str) -> None:
        if not self._ended:
            self._reason = self._reason or reason
            self._parts.tree.kill()
            self._parts.outer.kill()

    async def _run(self) -> SandboxExit:
        try:
            async with _end_of(self._parts.outer_handle) as ending:
                await self._look(ending)
            self._parts.tree.kill()  # what the command left running goes with it
            async with _end_of(self._parts.tree.handle) as ending:
                await ending
            self._reason = self._reason or await self._parts.watch.work_exceeded()
        finally:
            self._clean_up()
        return self._exit()

    async def _look(self, ending: asyncio.Future[None]) -> None:
        while not (await asyncio.wait({ending}, timeout=TICK_SECONDS))[0]:
            if not self._frozen and not self._reason:
                reason = self._out_of_memory() or await self._parts.watch.exceeded()
                if reason:
                    self._end(reason)

    def _out_of_memory(self) -> str:
        cgroup = self._parts.cgroup
        return "memory_bytes" if cgroup is not None and cgroup.out_of_memory() else ""

    def _clean_up(self) -> None:
        """Reap and remove, without the event loop: it may be the loop that ends."""
        parts = self._parts
        parts.tree.kill()
        parts.outer.kill()
        _wait_for_end(parts.tree.handle)
        parts.outer.wait()
        self._ended = True
        self._reason = self._reason or self._out_of_memory()
        for end in (parts.stdin, parts.stdout, parts.log):
            end.finish()
        parts.tree.close()
        if parts.status is not None:
            self._ran = b"exit-code" in os.pread(parts.status, 4096, 0)
            os.close(parts.status)
        os.close(parts.outer_handle)
        if parts.cgroup is not None:
            parts.cgroup.remove()

    def _exit(self) -> SandboxExit:
        code = self._parts.outer.returncode
        if not self._ran and not self._reason and code > 0:
            raise SandboxError("the command could not be run inside the sandbox; its log says why")
        if code > SIGNAL_BASE:
            code = SIGNAL_BASE - code
        return SandboxExit(code, self._reason or ("signal" if code < 0 else "exited"))


@asynccontextmanager
async def _end_of(handle: int) -> AsyncIterator[asyncio.Future[None]]:
    """A future that is done when the process behind a pidfd has ended."""
    loop = asyncio.get_running_loop()
    ending: asyncio.Future[None] = loop.create_future()
    loop.add_reader(handle, lambda: None if ending.done() else ending.set_result(None))
    try:
        yield ending
    finally:
        loop.remove_reader(handle)


def _wait_for_end(handle: int) -> None:
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    poll.poll(END_SECONDS * 1000)
