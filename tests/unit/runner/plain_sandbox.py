"""A `Sandbox` without walls: the command runs as it is, and paths of its world are replaced by those of the host.

For tests of what runs inside and of who talks to it; that the walls hold is shown elsewhere.
"""

from __future__ import annotations

import asyncio
import os
import signal

from corpgrid.ports.sandbox import Gate, SandboxExit, SandboxProcess, SandboxSpec


class PlainProcess:
    """A `SandboxProcess`: one process group."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self._stdin, self._stdout, self._stderr = process.stdin, process.stdout, process.stderr

    @property
    def pid(self) -> int:
        return self._process.pid

    async def write(self, data: bytes) -> None:
        self._stdin.write(data)
        await self._stdin.drain()

    async def read(self) -> bytes:
        return await self._stdout.read(1 << 20)

    async def read_log(self) -> bytes:
        return await self._stderr.read(64 << 10)

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    async def wait(self) -> SandboxExit:
        code = await self._process.wait()
        self._signal(signal.SIGKILL)
        return SandboxExit(code, "signal" if code < 0 else "exited")

    def _signal(self, number: int) -> None:
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return


class PlainSandbox:
    """A `Sandbox`."""

    name = "plain"

    async def self_test(self) -> list[Gate]:
        return []

    async def start(self, spec: SandboxSpec) -> SandboxProcess:
        process = await asyncio.create_subprocess_exec(
            spec.argv[0],
            *(_on_host(argument, spec) for argument in spec.argv[1:]),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=dict(spec.env),
            cwd=spec.work,
            process_group=0,
        )
        return PlainProcess(process)


def _on_host(argument: str, spec: SandboxSpec) -> str:
    seen = {inside: str(folder) for folder, inside in spec.read_only.items()} | {"/work": str(spec.work)}
    for inside, folder in seen.items():
        if argument == inside or argument.startswith(inside + "/"):
            return folder + argument[len(inside) :]
    return argument
