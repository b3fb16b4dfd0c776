"""What every `Sandbox` promises, written once; a platform's suite subclasses `SandboxContract`.

A subclass gives the fixtures ``sandbox`` (the adapter) and ``command`` (argv of a Python inside that runs the source
appended to it), and may narrow ``limits``.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from corpgrid.errors import CorpGridError, RunnerError, SandboxError
from corpgrid.ports.sandbox import Sandbox, SandboxExit, SandboxLimits, SandboxProcess, SandboxSpec

MIB = 1 << 20
FREEZE_SECONDS = 0.05

ECHO = """
import os
while chunk := os.read(0, 65536):
    view = memoryview(chunk)
    while view: view = view[os.write(1, view):]
"""
CLOCK = """
import os, time
while True:
    os.write(1, b'.')
    time.sleep(0.002)
"""
FAMILY = """
import os, threading, time
def tick():
    while True:
        os.write(1, b'.')
        time.sleep(0.005)
for _ in range(2):
    if os.fork() == 0: break
for _ in range(2): threading.Thread(target=tick, daemon=True).start()
tick()
"""


class Outcome(NamedTuple):
    """What a finished sandbox left."""

    out: bytes
    log: bytes
    exit: SandboxExit


class Bench(NamedTuple):
    """A sandbox and where it works."""

    sandbox: Sandbox
    command: tuple[str, ...]
    folder: Path
    limits: SandboxLimits

    async def start(self, source: str, **spec: object) -> SandboxProcess:
        """Start Python ``source`` in a work folder, ``work`` below the bench's folder by default."""
        work = self.folder / "work"
        work.mkdir(mode=0o700, exist_ok=True)
        settings: dict[str, object] = {"argv": (*self.command, source), "work": work, "limits": self.limits, **spec}
        return await self.sandbox.start(SandboxSpec(**settings))  # type: ignore[arg-type]

    async def run(self, source: str, **spec: object) -> Outcome:
        """Run it to its end."""
        return await finish(await self.start(source, **spec))


async def finish(process: SandboxProcess) -> Outcome:
    """Everything that a process wrote, and how it ended."""
    out, log = await asyncio.gather(read_all(process.read), read_all(process.read_log))
    return Outcome(out, log, await process.wait())


async def read_all(read: Callable[[], object]) -> bytes:
    chunks = []
    while chunk := await read():  # type: ignore[misc]
        chunks.append(chunk)
    return b"".join(chunks)


async def is_silent(process: SandboxProcess, seconds: float = 0.05) -> bool:
    """Whether nothing comes, once the pipe has been emptied."""
    deadline = time.monotonic() + 2.0
    while time.monotonic() < deadline:
        try:
            async with asyncio.timeout(seconds):
                await process.read()
        except TimeoutError:
            return True
    return False


def open_folder() -> Iterator[Path]:
    """A folder that everyone may enter: pytest's own ones are closed to a job user."""
    folder = Path(tempfile.mkdtemp(prefix="corpgrid-test-"))
    folder.chmod(0o755)
    yield folder
    remove(folder)


def remove(folder: Path) -> None:
    """Remove a folder in which a job may have closed folders to their owner."""
    for path, _, _ in os.walk(folder):
        if not os.path.islink(path):  # noqa: PTH114 - by name, as os.walk gives it
            os.chmod(path, 0o755)  # noqa: PTH101 - by name, as os.walk gives it
    shutil.rmtree(folder, ignore_errors=True)


class SandboxContract:
    """The promises."""

    limits = SandboxLimits(memory_bytes=96 * MIB, processes=32, work_bytes=4 * MIB, work_files=100)

    @pytest.fixture
    def folder(self) -> Iterator[Path]:
        yield from open_folder()

    @pytest.fixture
    def bench(self, sandbox: Sandbox, command: tuple[str, ...], folder: Path) -> Bench:
        return Bench(sandbox, command, folder, self.limits)

    # -- pipes -------------------------------------------------------------------------------------------------------

    async def test_output_log_and_status_come_back_apart(self, bench: Bench) -> None:
        outcome = await bench.run("import sys; print('out'); print('log', file=sys.stderr); sys.exit(7)")
        assert outcome == (b"out\n", b"log\n", SandboxExit(7, "exited"))

    async def test_what_is_written_arrives_whole_and_in_order(self, bench: Bench) -> None:
        process = await bench.start(ECHO)
        sent = bytes(range(256)) * (3 * MIB // 256)
        reading = asyncio.create_task(self._read_exactly(process, len(sent)))
        for start in range(0, len(sent), 700_001):
            await process.write(sent[start : start + 700_001])
        assert await reading == sent
        process.kill()
        await process.wait()

    async def _read_exactly(self, process: SandboxProcess, size: int) -> bytes:
        received = b""
        while len(received) < size and (chunk := await process.read()):
            received += chunk
        return received

    async def test_a_write_waits_while_nobody_reads(self, bench: Bench) -> None:
        process = await bench.start("import time; time.sleep(60)")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await process.write(bytes(16 * MIB))
        process.kill()
        await process.wait()

    @pytest.mark.parametrize(("descriptor", "most_bytes"), [(1, MIB), (2, 64 << 10)], ids=["output", "log"])
    async def test_reads_are_bounded(self, bench: Bench, descriptor: int, most_bytes: int) -> None:
        process = await bench.start(f"import os\nwhile True: os.write({descriptor}, bytes(1 << 20))")
        for _ in range(8):
            assert 0 < len(await (process.read() if descriptor == 1 else process.read_log())) <= most_bytes
        process.kill()
        await process.wait()

    async def test_a_command_that_ended_is_not_written_to(self, bench: Bench) -> None:
        process = await bench.start("pass")
        await process.wait()
        with pytest.raises(RunnerError):
            await process.write(b"anyone?")

    async def test_what_was_written_before_the_end_can_be_read_after_it(self, bench: Bench) -> None:
        process = await bench.start("import os; os.write(1, b'last words'); os.write(2, b'and log')")
        await process.wait()
        assert (await process.read(), await process.read()) == (b"last words", b"")
        assert (await process.read_log(), await process.read_log()) == (b"and log", b"")

    # -- the world inside ----------------------------------------------------------------------------------------------

    async def test_the_environment_is_the_one_given(self, bench: Bench) -> None:
        outcome = await bench.run("import os; print(sorted(os.environ))", env={"GIVEN": "1"})
        assert set(eval(outcome.out)) - {"PWD", "LC_CTYPE"} == {"GIVEN"}

    async def test_the_work_folder_is_the_working_folder_and_keeps_results(self, bench: Bench) -> None:
        outcome = await bench.run("import os; print(os.getcwd()); open('result', 'w').write('42')")
        assert outcome.out == b"/work\n"
        assert (bench.folder / "work" / "result").read_text() == "42"

    async def test_a_shown_folder_is_read_and_not_written(self, bench: Bench) -> None:
        shown = bench.folder / "bundle"
        shown.mkdir(mode=0o755)
        (shown / "code.py").write_text("answer = 42")
        outcome = await bench.run(
            "print(open('/job/code.py').read())\n"
            "for path in ('/job/code.py', '/job/new'):\n"
            "    try: open(path, 'w')\n"
            "    except OSError: print('refused')",
            read_only={shown: "/job"},
        )
        assert outcome.out == b"answer = 42\nrefused\nrefused\n"
        assert [path.name for path in shown.iterdir()] == ["code.py"]

    async def test_a_shown_folder_can_be_filled_later(self, bench: Bench) -> None:
        shown = bench.folder / "bundle"
        shown.mkdir(mode=0o755)
        process = await bench.start("input(); print(open('/job/late').read())", read_only={shown: "/job"})
        (shown / "late").write_text("came later")
        await process.write(b"go\n")
        assert (await finish(process)).out == b"came later\n"

    async def test_nothing_of_the_host_is_there(self, bench: Bench) -> None:
        (bench.folder / "secret").write_text("host")
        seen = await bench.run(
            f"import os\nfor p in {[str(bench.folder), str(Path.home()), '/etc/passwd', '/home']!r}: "
            "print(os.path.exists(p))"
        )
        assert seen.out.split() == [b"False"] * 4

    # -- ends ----------------------------------------------------------------------------------------------------------

    async def test_a_signal_is_told_from_a_status(self, bench: Bench) -> None:
        outcome = await bench.run("import os; os.kill(os.getpid(), 11)")
        assert outcome.exit == SandboxExit(-11, "signal")

    async def test_a_kill_ends_all_of_a_family(self, bench: Bench) -> None:
        process = await bench.start(FAMILY)
        await process.read()
        process.kill()
        process.kill()
        assert await process.wait() == SandboxExit(-9, "killed")
        assert await process.wait() == SandboxExit(-9, "killed")
        await read_all(process.read)  # ends: no writer is left

    async def test_what_a_command_leaves_running_ends_with_it(self, bench: Bench) -> None:
        process = await bench.start("import os, time\nif os.fork() == 0: os.setsid(); time.sleep(60)")
        outcome = await finish(process)
        assert outcome.exit == SandboxExit(0, "exited")

    async def test_a_command_that_is_not_there_says_so_in_its_log(self, bench: Bench) -> None:
        outcome = await finish(await bench.start("", argv=("/usr/bin/no-such-program",)))
        assert outcome.exit == SandboxExit(127, "exited")
        assert b"no-such-program" in outcome.log

    async def test_a_source_that_is_not_there_is_an_error_with_its_name(self, bench: Bench) -> None:
        with pytest.raises(SandboxError, match="no-such-folder") as caught:
            await bench.start("pass", read_only={bench.folder / "no-such-folder": "/job"})
        assert isinstance(caught.value, CorpGridError)
        assert caught.value.remedy

    # -- freeze --------------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("source", [CLOCK, FAMILY], ids=["one", "family"])
    async def test_a_frozen_sandbox_stands_still_until_it_is_thawed(self, bench: Bench, source: str) -> None:
        process = await bench.start(source)
        for _ in range(3):
            assert await process.read()
            process.freeze()
            process.freeze()
            assert await is_silent(process)
            process.thaw()
            process.thaw()
        assert await process.read()
        process.kill()
        await process.wait()

    async def test_freezing_is_quick(self, bench: Bench) -> None:
        process = await bench.start(FAMILY)
        await process.read()
        took = []
        for _ in range(5):
            started = time.perf_counter()
            process.freeze()
            took.append(time.perf_counter() - started)
            process.thaw()
            await asyncio.sleep(0)
        process.kill()
        await process.wait()
        assert sorted(took)[2] < FREEZE_SECONDS

    async def test_a_frozen_sandbox_can_be_killed(self, bench: Bench) -> None:
        process = await bench.start(CLOCK)
        await process.read()
        process.freeze()
        process.kill()
        async with asyncio.timeout(5):
            assert (await process.wait()).reason == "killed"
        process.freeze()
        process.thaw()

    # -- limits --------------------------------------------------------------------------------------------------------

    async def test_memory_is_limited(self, bench: Bench) -> None:
        outcome = await bench.run(
            "import time\nheld = []\nwhile True:\n    held.append(bytearray(1 << 20)); time.sleep(0.0005)"
        )
        assert outcome.exit == SandboxExit(-9, "memory_bytes")

    async def test_processes_are_limited(self, bench: Bench) -> None:
        outcome = await bench.run(
            "import os, time\n"
            "for number in range(1000):\n"
            "    try:\n"
            "        if os.fork() == 0: time.sleep(60)\n"
            "    except BlockingIOError: break\n"
            "print(number)"
        )
        assert outcome.exit.reason == "processes" or int(outcome.out) < self.limits.processes

    async def test_a_work_folder_that_grows_too_large_ends_it(self, bench: Bench) -> None:
        outcome = await bench.run(
            "import time\nfor n in range(10): open(str(n), 'wb').write(bytes(1 << 20))\ntime.sleep(60)"
        )
        assert outcome.exit == SandboxExit(-9, "work_bytes")

    async def test_a_work_folder_with_too_many_files_ends_it(self, bench: Bench) -> None:
        outcome = await bench.run("import time\nfor n in range(200): open(str(n), 'wb')\ntime.sleep(60)")
        assert outcome.exit == SandboxExit(-9, "work_files")

    async def test_limits_are_looked_at_once_more_at_the_end(self, bench: Bench) -> None:
        outcome = await bench.run("for n in range(200): open(str(n), 'wb')")
        assert outcome.exit.reason == "work_files"

    # -- together ------------------------------------------------------------------------------------------------------

    async def test_sandboxes_run_beside_each_other(self, bench: Bench) -> None:
        async def one(number: int) -> bytes:
            work = bench.folder / f"work-{number}"
            work.mkdir(mode=0o700)
            return (await bench.run(f"print({number})", work=work)).out

        assert await asyncio.gather(*map(one, range(6))) == [b"%d\n" % number for number in range(6)]

    async def test_the_self_test_passes_here(self, bench: Bench) -> None:
        gates = await bench.sandbox.self_test()
        assert [gate for gate in gates if not gate.passed] == []
        assert len({gate.name for gate in gates}) == len(gates) > 10
