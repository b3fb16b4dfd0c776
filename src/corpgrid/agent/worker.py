"""One runner process as the agent sees it: start, load, give it tasks, take what finished, freeze, kill.

    worker = await Worker.start(sandbox, spec)           # a spare, before any job is known
    await worker.load(engine="python", entry=entry, limits=limits)
    async for batch in worker.run(tasks):                # lists of Finished
        ...
    worker.not_started                                   # after a death: for another runner
    await worker.close()

* The runner is a stranger.  Frames that it forges, a pipe that it closes, a clock that it overruns: the agent ends it,
  the task that ran bears it (``agent.progress`` says which one that is), and the next runner is fine.
* Its pipes are always drained, so that a flood of log never stops it, and nothing is read faster than it is taken.
* A task's time runs from the end of the one before it, and stands still while the runner is frozen.
* ``give`` may be called while tasks run, so that a runner never waits for work; what finished has one reader.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import signal
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from typing import Any

from corpgrid.agent.countdown import Countdown
from corpgrid.agent.logs import Clipping
from corpgrid.agent.progress import Finished, Progress, RunnerTask, Verdict, story
from corpgrid.domain.job import Limits
from corpgrid.domain.messages import Outcome
from corpgrid.errors import LoadError, MalformedDataError, RunnerError, SandboxError
from corpgrid.ports.sandbox import Sandbox, SandboxExit, SandboxProcess, SandboxSpec
from corpgrid.wire.frames import Frame, FrameReader, encode_frame

START_SECONDS = 30.0
LOAD_SECONDS = 120.0
STOP_SECONDS = 2.0
_LIMIT_REASONS = frozenset({"memory_bytes", "work_bytes", "work_files"})
_RUN_FRAME_BYTES = 8 << 20
_RUN_FRAME_TASKS = 10_000
_UNTAKEN_BYTES = 64 << 20
_EARLY_LOG_BYTES = 8 << 10
_BUSY_LOG_BYTES = 16 << 10
_LOG_PAUSE_SECONDS = 0.005


class Worker:
    """A runner and its pipes.  Made by ``start``; ended by ``close``.

    Attributes:
        not_started: tasks that were given and that nobody ran, once the runner is gone.
    """

    def __init__(self, process: SandboxProcess, spec: SandboxSpec) -> None:
        self.not_started: list[RunnerTask] = []
        self._process = process
        self._spec = spec
        self._frames = FrameReader()
        self._early_log = Clipping(_EARLY_LOG_BYTES)
        self._progress: Progress | None = None
        self._wall_seconds = 0.0
        self._loaded = False
        self._awaited = frozenset({"ready"})
        self._answer: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        self._to_write: asyncio.Queue[bytes] = asyncio.Queue()
        self._changed = asyncio.Event()
        self._taken = asyncio.Event()
        self._log_due = asyncio.Event()
        self._clock = Countdown(self._overrun)
        self._verdict: Verdict | None = None
        self._gone = False
        self._exit = asyncio.create_task(process.wait())
        self._life = asyncio.create_task(self._live())

    # -- what the agent does

    @classmethod
    async def start(cls, sandbox: Sandbox, spec: SandboxSpec) -> Worker:
        """Start a runner and wait until it is ready for a load.

        Raises:
            SandboxError: the sandbox cannot be had.
            LoadError: the process in it did not come up.
        """
        worker = cls(await sandbox.start(spec), spec)
        try:
            await worker.ready()
        except BaseException:
            worker.kill()  # nobody will hold it
            raise
        return worker

    async def ready(self) -> None:
        """Wait until it is ready for a load; it may be frozen and killed before that.

        Raises:
            LoadError: the process did not come up.
        """
        await self._await({"ready"}, seconds=START_SECONDS)

    async def load(
        self, *, engine: str, entry: Mapping[str, Any], limits: Limits, seconds: float = LOAD_SECONDS
    ) -> None:
        """Load the job whose tasks it will run.

        Raises:
            LoadError: it cannot be loaded; the runner is of no more use.
        """
        assert self._progress is None, "a runner serves one job"
        nonce = secrets.token_hex(16).encode()
        self._progress = Progress(nonce=nonce, limits=limits, work=self._spec.work)
        self._wall_seconds = limits.wall_seconds
        told = {"result_bytes": limits.result_bytes}
        self._write("load", {"engine": engine, "entry": dict(entry), "limits": told, "log_nonce": nonce})
        await self._await({"loaded", "load_failed"}, seconds=seconds)
        self._loaded = True

    def give(self, tasks: Iterable[RunnerTask]) -> None:
        """Have these run after those that it has; a dead runner puts them into ``not_started``."""
        tasks = list(tasks)
        if not self.alive:
            self.not_started += tasks
            return
        assert self._progress is not None, "a runner loads before it runs"
        if tasks and self._progress.idle:
            self._clock.start(self._wall_seconds)
        self._progress.give(tasks)
        for part in _by_size(tasks):
            self._write("run", part)

    async def next_batch(self) -> list[Finished]:
        """What finished since the last call, as soon as there is anything; empty once the runner is gone."""
        while True:
            if self._progress is not None and self._progress.untaken:
                self._taken.set()
                return self._progress.take()
            if self._gone:
                return []
            await self._changed.wait()
            self._changed.clear()

    async def run(self, tasks: Iterable[RunnerTask]) -> AsyncIterator[list[Finished]]:
        """``give`` these, and what finishes until nothing is left to finish or the runner is gone."""
        self.give(tasks)
        while self._progress is not None and not (self._progress.idle and not self._progress.untaken):
            batch = await self.next_batch()
            if not batch:
                return
            yield batch

    @property
    def alive(self) -> bool:
        """Whether it may be given tasks."""
        return self._verdict is None and not self._gone

    @property
    def untaken_bytes(self) -> int:
        """Of what finished and waits to be taken, roughly."""
        return 0 if self._progress is None else self._progress.untaken_bytes

    @property
    def pid(self) -> int:
        """Of the sandbox's outermost process."""
        return self._process.pid

    def freeze(self) -> None:
        """Stop it where it stands; its time stands still too."""
        self._process.freeze()
        self._clock.pause()

    def thaw(self) -> None:
        """Let it go on."""
        self._clock.resume()
        self._process.thaw()

    def kill(self) -> None:
        """End it at once and blame nobody: what had not finished will be in ``not_started``."""
        self._end(Verdict(None, "killed", "the agent ended the runner"))

    async def close(self) -> None:
        """Have it gone: kindly if it is idle, at once if it is not."""
        if self.alive and not self._clock.paused and (self._progress is None or self._progress.idle):
            self._write("stop")
            await asyncio.wait({self._exit}, timeout=STOP_SECONDS)
        self.kill()
        await asyncio.shield(self._life)  # whoever stops waiting for its end does not keep it from ending

    # -- what the runner does

    async def _live(self) -> None:
        """Drain the pipes to their end; then the account is closed."""
        writing = asyncio.create_task(self._write_all())
        try:
            await asyncio.gather(self._read_control(), self._read_log())
            end = await self._ended()
            self._verdict = self._verdict or end
            if self._progress is not None:
                self.not_started += self._progress.end(self._verdict)
        finally:
            writing.cancel()
            self._clock.close()
            self._gone = True
            self._changed.set()
            if not self._answer.done():
                self._answer.set_result(["gone"])

    async def _ended(self) -> Verdict:
        try:
            return _verdict_of(await self._exit)
        except SandboxError as cause:
            return Verdict(None, "sandbox", cause.explain())

    async def _read_control(self) -> None:
        while data := await self._process.read():
            try:
                for frame in self._frames.feed(data):
                    self._on_frame(frame)
            except (MalformedDataError, RunnerError) as cause:
                self._end(Verdict(Outcome.CRASHED, "protocol", f"the runner broke its protocol: {cause}"))
                return
            await self._until_taken()
        await asyncio.wait({self._exit}, timeout=STOP_SECONDS)
        if not self._exit.done():
            self._end(Verdict(Outcome.CRASHED, "protocol", "the runner closed its control pipe"))

    def _on_frame(self, frame: Frame) -> None:
        if frame[0] in self._awaited:
            self._awaited = frozenset()
            self._answer.set_result(frame)
            return
        if frame[0] != "done" or not self._loaded or self._progress is None:
            raise RunnerError(f"it says {frame[0][:40]!r} when nobody asked")
        self._progress.on_done(frame)
        self._went_on(task_ended=False)

    async def _read_log(self) -> None:
        while data := await self._process.read_log():
            if self._progress is None:
                self._early_log.add(data)
            else:
                self._went_on(task_ended=self._progress.on_log(data))
            if len(data) < _BUSY_LOG_BYTES:
                await self._until_log_due()

    def _went_on(self, *, task_ended: bool) -> None:
        assert self._progress is not None
        if self._progress.idle:
            self._clock.stop()
        elif task_ended:
            self._clock.start(self._wall_seconds)
        if self._progress.waits_for_log:
            self._log_due.set()
        if self._progress.untaken:
            self._changed.set()

    async def _until_log_due(self) -> None:
        """Let a quiet log gather: one mark after each short task would wake the agent for each."""
        if self._progress is not None and not self._progress.waits_for_log:
            self._log_due.clear()
            timer = asyncio.get_running_loop().call_later(_LOG_PAUSE_SECONDS, self._log_due.set)
            await self._log_due.wait()
            timer.cancel()

    async def _until_taken(self) -> None:
        """Read no further while too much waits for its reader."""
        while self.untaken_bytes > _UNTAKEN_BYTES and self.alive:
            self._taken.clear()
            await self._taken.wait()

    async def _write_all(self) -> None:
        """A pipe that broke is a runner that died: its exit says more than the error."""
        with contextlib.suppress(OSError, RunnerError):
            while True:
                await self._process.write(await self._to_write.get())

    def _write(self, kind: str, *fields: Any) -> None:
        self._to_write.put_nowait(encode_frame(kind, *fields))

    async def _await(self, kinds: set[str], *, seconds: float) -> None:
        """Wait for one of these frames.

        Raises:
            LoadError: it says that the load failed, or nothing in time, or it is gone.
        """
        if self._gone:
            raise self._gone_before_its_time()
        self._awaited = frozenset(kinds)
        self._clock.start(seconds)
        frame = await asyncio.shield(self._answer)  # it may come when nobody waits for it any more
        self._clock.stop()
        self._answer = asyncio.get_running_loop().create_future()
        match frame:
            case ["gone"]:
                raise self._gone_before_its_time()
            case ["load_failed", str(reason), str(detail)]:
                raise LoadError(reason, detail)

    def _gone_before_its_time(self) -> LoadError:
        assert self._verdict is not None
        log = self._early_log.result() if self._progress is None else self._progress.rest_of_log()
        return LoadError(self._verdict.reason, story(log, self._verdict.detail))

    def _overrun(self) -> None:
        if self._loaded:
            detail = f"it ran for more than wall_seconds, {self._wall_seconds:g}"
            self._end(Verdict(Outcome.FAILED, "wall_seconds", detail))
        else:
            self._end(Verdict(None, "load_seconds", "it took too long to start or to load"))

    def _end(self, verdict: Verdict) -> None:
        """Kill it; the first verdict stands."""
        if self.alive:
            self._verdict = verdict
            self._taken.set()
            self._process.kill()


def _verdict_of(end: SandboxExit) -> Verdict:
    """What the end of a runner means that the agent did not end itself."""
    if end.reason in _LIMIT_REASONS:
        return Verdict(Outcome.FAILED, end.reason, f"the sandbox ended it: it took more than {end.reason} allows")
    if end.code < 0:
        name = signal.Signals(-end.code).name
        return Verdict(Outcome.CRASHED, name.lower(), f"the runner was ended by {name}")
    return Verdict(Outcome.CRASHED, "exit", f"the runner ended with exit status {end.code}")


def _by_size(tasks: Iterable[RunnerTask]) -> Iterator[list[RunnerTask]]:
    """Parts that fit a frame each."""
    part: list[RunnerTask] = []
    size = 0
    for task in tasks:
        if part and (size + len(task.item) > _RUN_FRAME_BYTES or len(part) == _RUN_FRAME_TASKS):
            yield part
            part, size = [], 0
        part.append(task)
        size += len(task.item)
    if part:
        yield part
