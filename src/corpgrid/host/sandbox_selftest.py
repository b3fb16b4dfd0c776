"""The self-test: canaries sent through the real sandbox before any job is taken.

It fails closed: a gate that could not be probed has not passed.  Each gate says what to do about it.

    gates = await sandbox.self_test()
    ready = all(gate.passed for gate in gates)
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import tempfile
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

from corpgrid.errors import CorpGridError, SandboxError
from corpgrid.host.sandbox_python import runner_python
from corpgrid.host.sandbox_user import JobUser
from corpgrid.ports.sandbox import Gate, Sandbox, SandboxLimits, SandboxProcess, SandboxSpec

PROBE_SECONDS = 20.0
QUIET_SECONDS = 0.03
MEMORY_BYTES = 64 << 20
PROCESSES = 8

REMEDIES = {
    "start": "`corpgrid doctor` tells what the host forbids.",
    "host_files": "Report this: the host's files must not be seen.",
    "network": "Report this: the network must not be reached.",
    "system_calls": "Use a kernel with CONFIG_SECCOMP_FILTER.",
    "user_namespaces": "Install bubblewrap 0.8 or newer.",
    "capabilities": "Report this: no capability may be held.",
    "no_new_privileges": "Report this: bubblewrap must set no_new_privs.",
    "job_user": "Set job_uid to a number that owns nothing on this host.",
    "writes": "Report this: only the work folder may be written.",
    "descriptors": "Report this: no descriptor may be inherited.",
    "environment": "Report this: nothing of the agent's environment may be seen.",
    "processes": "Use a kernel with pid namespaces (CONFIG_PID_NS).",
    "memory_limit": "Delegate a control group to the agent (systemd: Delegate=yes).",
    "process_limit": "Delegate a control group to the agent, or use Linux 5.14 or newer.",
    "freeze": "Delegate a control group to the agent (systemd: Delegate=yes).",
    "kill": "Report this: nothing may survive.",
}
"""Every gate, and what to do about it."""

READ_AND_RUN = "import sys; exec(sys.stdin.buffer.read({}))"
MEMORY_HOG = "held = []\nwhile True: held.append(bytearray(1 << 20))"
FORK_BOMB = """
import os, time
try:
    for _ in range(100):
        if os.fork() == 0:
            time.sleep(60)
except BlockingIOError:
    os.write(1, b'refused')
"""
CLOCKWORK = "import os, time\nwhile True:\n    os.write(1, b'.')\n    time.sleep(0.001)"


async def probe_gates(
    sandbox: Sandbox,
    user: JobUser | None,
    scratch: Path | None = None,
    promised: frozenset[str] = frozenset(REMEDIES),
) -> list[Gate]:
    """Probe every gate that is promised.

    Args:
        sandbox: the one to test.
        user: the job user, if there is one.
        scratch: a folder that the job user can reach; None for the system's temporary one.
        promised: the gates that this sandbox promises.
    """
    found: dict[str, str] = {}
    remedies = dict(REMEDIES)
    try:
        python = runner_python(user)
        with _canary(scratch) as (folder, port):
            shown = {**python.read_only, **({folder / "canary": "/canary"} if "job_user" in promised else {})}
            probe = _Probe(sandbox, python.path, shown, folder)
            async with asyncio.timeout(PROBE_SECONDS):
                found |= await probe.canary(port, agent_is_root=user is not None)
                found["start"] = ""
                for details in await asyncio.gather(probe.memory_limit(), probe.process_limit(), probe.freeze()):
                    found |= details
    except (CorpGridError, OSError, ValueError) as error:  # TimeoutError is an OSError
        gate = "memory_limit" if "start" in found else "start"
        found[gate] = str(error) or type(error).__name__
        remedies[gate] = getattr(error, "remedy", "") or remedies[gate]
    return [_gate(name, found.get(name, "not probed"), remedies[name]) for name in REMEDIES if name in promised]


def _gate(name: str, detail: str, remedy: str) -> Gate:
    return Gate(name, passed=not detail, detail=detail, remedy=remedy if detail else "")


class _Probe:
    """Sends one program after another through the sandbox."""

    def __init__(self, sandbox: Sandbox, python: str, shown: dict[Path, str], folder: Path) -> None:
        self._sandbox = sandbox
        self._python = python
        self._shown = shown
        self._folder = folder

    async def _start(self, name: str, source: str, *arguments: str) -> SandboxProcess:
        work = self._folder / name
        work.mkdir(mode=0o700)
        limits = SandboxLimits(memory_bytes=MEMORY_BYTES, processes=PROCESSES, work_bytes=1 << 20, work_files=100)
        return await self._sandbox.start(
            SandboxSpec(
                argv=(self._python, "-I", "-S", "-c", source, *arguments),
                work=work,
                limits=limits,
                read_only=self._shown,
            )
        )

    async def canary(self, port: int, *, agent_is_root: bool) -> dict[str, str]:
        """The gates that are tried from inside."""
        source = resources.files("corpgrid.host").joinpath("sandbox_canary.py").read_bytes()
        question = json.dumps({"port": port, "agent_is_root": agent_is_root})
        process = await self._start("work-canary", READ_AND_RUN.format(len(source)), question)
        await process.write(source)
        answer = await _output(process)
        end = await process.wait()
        if not answer:
            log = (await process.read_log()).decode("utf-8", "replace").strip()
            raise SandboxError(f"the canary did not answer ({end.reason}, {end.code}): {log}")
        return {str(name): str(detail) for name, detail in json.loads(answer).items()}

    async def memory_limit(self) -> dict[str, str]:
        """A program that takes ever more memory is ended, or refused it."""
        process = await self._start("work-memory", MEMORY_HOG)
        await _output(process)
        end = await process.wait()
        refused = b"MemoryError" in await process.read_log()
        return {"memory_limit": "" if refused or end.reason == "memory_bytes" else f"it ended by {end.reason}"}

    async def process_limit(self) -> dict[str, str]:
        """A program that forks without end is refused, or ended."""
        process = await self._start("work-processes", FORK_BOMB)
        refused = await process.read() == b"refused"
        process.kill()
        end = await process.wait()
        return {"process_limit": "" if refused or end.reason == "processes" else f"it ended by {end.reason}"}

    async def freeze(self) -> dict[str, str]:
        """A program that is frozen does nothing, goes on when thawed, and is gone when killed."""
        process = await self._start("work-freeze", CLOCKWORK)
        await process.read()
        process.freeze()
        await _silence(process, seconds=QUIET_SECONDS)
        frozen = await _silence(process, seconds=QUIET_SECONDS)
        process.thaw()
        thawed = bool(await process.read())
        process.kill()
        end = await process.wait()
        return {
            "freeze": "" if frozen and thawed else "it went on" if not frozen else "it did not go on again",
            "kill": "" if end.reason == "killed" else f"it ended by {end.reason}",
        }


async def _output(process: SandboxProcess) -> bytes:
    chunks = []
    while chunk := await process.read():
        chunks.append(chunk)
    return b"".join(chunks)


async def _silence(process: SandboxProcess, *, seconds: float) -> bool:
    """Whether nothing is written for so long."""
    reading: Awaitable[bytes] = process.read()
    try:
        await asyncio.wait_for(reading, seconds)
    except TimeoutError:
        return True
    return False


@contextmanager
def _canary(scratch: Path | None) -> Iterator[tuple[Path, int]]:
    """A scratch folder with a secret of this process's, and a listener's port on the host's loopback."""
    folder = Path(tempfile.mkdtemp(prefix="corpgrid-selftest-", dir=scratch))
    try:
        folder.chmod(0o711)
        secret = folder / "canary" / "secret"
        secret.parent.mkdir()
        secret.parent.chmod(0o755)
        secret.touch(mode=0o600)
        secret.write_bytes(os.urandom(16))
        with socket.create_server(("127.0.0.1", 0)) as listener:
            yield folder, listener.getsockname()[1]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
