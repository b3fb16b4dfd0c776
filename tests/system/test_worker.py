"""Workers over the real sandbox, with real limits, environments, inputs and outputs."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

if sys.platform != "linux":
    pytest.skip("bubblewrap is Linux's", allow_module_level=True)

import cloudpickle

from corpgrid.agent.bytecode import precompiler
from corpgrid.agent.engine_check import engine_faults
from corpgrid.agent.environment import Environments
from corpgrid.agent.outputs import OutputError, collect
from corpgrid.agent.removal import remove_tree
from corpgrid.agent.runner_spec import RunnerPlace, runner_spec, sandbox_limits
from corpgrid.agent.runtime import lay_out
from corpgrid.agent.wheel_tags import this_interpreter
from corpgrid.agent.wheels import Wheel
from corpgrid.agent.worker import Worker
from corpgrid.domain.ids import Digest
from corpgrid.domain.messages import Outcome
from corpgrid.host.sandbox_linux import LinuxSandbox
from corpgrid.host.sandbox_python import runner_python
from corpgrid.trust.digest import digest
from corpgrid.wire import data
from tests.contracts.worker import LIMITS, PATIENCE_SECONDS, Bench, WorkerContract, finish, tasks

pytestmark = [pytest.mark.linux, pytest.mark.sandbox, pytest.mark.system]
cloudpickle.register_pickle_by_value(sys.modules[__name__])


@pytest.fixture(scope="module")
def sandbox() -> LinuxSandbox:
    return LinuxSandbox()


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where the sandbox's user may go, unlike the folders that pytest makes."""
    made = Path(tempfile.mkdtemp(prefix="corpgrid-"))
    made.chmod(0o755)
    yield made
    assert remove_tree(made)


@pytest.fixture
def bench(sandbox: LinuxSandbox, folder: Path) -> Bench:
    for name in ("work", "job", "in"):
        (folder / name).mkdir()
    found = runner_python(sandbox.user)
    place = RunnerPlace(
        python=found.path,
        runtime=lay_out(folder / "runtime"),
        work=folder / "work",
        job=folder / "job",
        inputs=folder / "in",
        also=found.read_only,
    )
    return Bench(sandbox, place)


class TestSandboxedWorker(WorkerContract):
    """Bubblewrap."""


def eats_memory(x: int) -> int:
    if x == 1:
        eaten = []
        while True:
            eaten.append(bytearray(os.urandom(1 << 20)))
    return x


async def test_a_task_without_end_to_its_memory_fails_alone(bench: Bench):
    worker = await bench.loaded(eats_memory, replace(LIMITS, memory_bytes=200 << 20))
    found = await finish(worker, 0, 1, 2)
    assert (found[1].outcome, found[1].reason) == (Outcome.FAILED, "memory_bytes")
    assert found[0].outcome is Outcome.RESULT
    assert len(found) == 3 or [task.index for task in worker.not_started] == [2]


async def test_a_task_that_fills_the_disk_fails(bench: Bench):
    def fills(x: int) -> int:
        for number in range(x):
            Path(str(number)).write_bytes(bytes(4 << 20))
            time.sleep(0.01)
        return x

    limits = replace(LIMITS, output_bytes=16 << 20)
    worker = await bench.loaded(fills, limits)
    found = await finish(worker, 0, 1000, 0)
    assert (found[1].outcome, found[1].reason) == (Outcome.FAILED, "work_bytes")


async def test_what_forks_and_hides_is_gone_with_the_runner(bench: Bench):
    def daemonises(x: int) -> int:
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                for number in (0, 1, 2):
                    os.close(number)
                while True:
                    Path("/work/alive").write_text(str(time.monotonic()))
                    time.sleep(0.01)
            os._exit(0)
        while not Path("/work/alive").exists():
            time.sleep(0.01)
        return x

    worker = await bench.loaded(daemonises)
    (found,) = await finish(worker, 1)
    assert found.outcome is Outcome.RESULT
    seen = (bench.place.work / "alive").read_text()
    await asyncio.sleep(0.1)
    assert (bench.place.work / "alive").read_text() == seen


async def test_inputs_can_be_read_and_nothing_of_the_agent_written(bench: Bench):
    assert bench.place.inputs is not None
    (bench.place.inputs / "values.csv").write_text("1,2\n")

    def looks(_: Any) -> list[str]:
        refused = []
        for path in ("/in/x", "/job/x", "/runtime/x", "/usr/x", "/x", "/runtime/start.py"):
            try:
                Path(path).write_text("x")
            except OSError:
                refused.append(path)
        return [Path("/in/values.csv").read_text(), *refused]

    (found,) = await finish(await bench.loaded(looks), 1)
    expected = ["1,2\n", "/in/x", "/job/x", "/runtime/x", "/usr/x", "/x", "/runtime/start.py"]
    assert data.decode(found.payload) == expected


async def test_outputs_are_collected_or_refused(bench: Bench, folder: Path):
    def leaves(kind: str) -> None:
        Path("sub").mkdir()
        Path("sub/plain.txt").write_text("plain")
        if kind == "link":
            Path("evil").symlink_to("/etc/shadow")

    stored: dict[Digest, bytes] = {}

    async def put_file(path: Path) -> Digest:
        content = await asyncio.to_thread(path.read_bytes)
        stored[digest(content)] = content
        return digest(content)

    good, bad = await finish(await bench.loaded(leaves), "plain", "link")
    assert good.outputs is not None
    assert bad.outputs is not None
    (file,) = await collect(good.outputs, limits=LIMITS, staging=folder / "staging", put_file=put_file)
    assert (file.name, file.size_bytes, stored[file.digest]) == ("sub/plain.txt", 5, b"plain")
    with pytest.raises(OutputError, match="symbolic link"):
        await collect(bad.outputs, limits=LIMITS, staging=folder / "staging", put_file=put_file)
    assert sorted(path.name for path in bench.place.work.iterdir()) == ["out"]


def wheel(folder: Path, source: str) -> Wheel:
    """A wheel with one module, ``greeting``."""
    files = {
        "greeting.py": source,
        "greeting-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: greeting\nVersion: 1.0\n",
        "greeting-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    lines = []
    for name, content in files.items():
        hashed = base64.urlsafe_b64encode(hashlib.sha256(content.encode()).digest()).rstrip(b"=").decode()
        lines.append(f"{name},sha256={hashed},{len(content)}")
    files["greeting-1.0.dist-info/RECORD"] = "\n".join([*lines, "greeting-1.0.dist-info/RECORD,,"]) + "\n"
    path = folder / "blob"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return Wheel("greeting-1.0-py3-none-any.whl", digest(path.read_bytes()), path)


async def test_packages_come_from_the_environment_with_their_bytecode(
    bench: Bench, sandbox: LinuxSandbox, folder: Path
):
    python = bench.place.python
    environments = Environments(
        folder / "environments",
        interpreter=this_interpreter(),
        cache_bytes=1 << 30,
        precompile=precompiler(sandbox, python, also=bench.place.also),
    )
    held = await environments.acquire([wheel(folder, "def hello(x): return [__file__, __cached__, x]\n")])
    (bench.place.job / "job.py").write_text("import greeting\nf = greeting.hello\n")
    spec = runner_spec(replace(bench.place, environment=held.path), sandbox_limits(LIMITS))
    worker = await Worker.start(sandbox, spec)
    await worker.load(engine="python", entry={"kind": "module", "module": "job", "name": "f"}, limits=LIMITS)
    (found,) = await finish(worker, 5)
    tag = sys.implementation.cache_tag
    cached = f"__pycache__/greeting.{tag}.pyc"
    assert data.decode(found.payload) == ["/env/greeting.py", f"/env/{cached}", 5]
    assert (held.path / cached).is_file()


async def test_engines_work_inside(bench: Bench):
    assert await engine_faults(bench.sandbox, bench.place) == {"python": "", "command": ""}


async def test_commands_of_the_bundle_run_inside(bench: Bench):
    (bench.place.job / "run.sh").write_text('echo "lr $1 in $PWD"; ls / | sort | tr "\\n" " "; touch left')
    worker = await bench.start()
    entry = {"kind": "command", "argv": ["sh", "run.sh", "{lr}"]}
    await worker.load(engine="command", entry=entry, limits=LIMITS)
    (found,) = await finish(worker, {"lr": 0.25})
    stdout = data.decode(found.payload)["stdout"]
    assert stdout.startswith("lr 0.25 in /work/out\n")
    assert not {"home", "root", "etc", "var", "run", "sys"} & set(stdout.split())
    assert found.log.decode() == stdout
    assert found.outputs is not None


async def test_a_task_that_stops_itself_is_ended_in_time(bench: Bench):
    import signal

    worker = await bench.loaded(lambda _: os.kill(os.getpid(), signal.SIGSTOP), replace(LIMITS, wall_seconds=0.5))
    async with asyncio.timeout(PATIENCE_SECONDS):
        worker.give(tasks(1))
        (found,) = await worker.next_batch()
        await worker.close()
    assert (found.outcome, found.reason) == (Outcome.FAILED, "wall_seconds")
