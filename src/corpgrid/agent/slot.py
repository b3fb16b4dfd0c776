"""One place for a runner: it keeps a worker warm for the job it had last, and feeds it so that it never waits.

* A worker serves one job, and after it those that share its trust (``PreparedJob.runner_key``); when the queue offers
  another, it is closed while a new one starts.
* Jobs take turns of ``_TURN_SECONDS`` where several have tasks here: a task of one never waits for all of another's.
* Short tasks are handed over by the hundred, the next ones while the last still run; long ones one at a time.
* Nothing is started while the host forbids work; what a killed worker had not started goes back to the queue.
* Whatever goes wrong with one job, a bug of CorpGrid included, ends that job's tasks here with a reason, and nothing
  else.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

from corpgrid.agent.bell import Bell
from corpgrid.agent.jobs import PreparedJob
from corpgrid.agent.outputs import collect
from corpgrid.agent.progress import Finished, RunnerTask
from corpgrid.agent.queue import HeldTask
from corpgrid.agent.runners import RunnerPool
from corpgrid.agent.session import Session
from corpgrid.agent.worker import Worker
from corpgrid.domain.ids import Digest, Epoch, JobId
from corpgrid.domain.job import Isolation
from corpgrid.domain.messages import Item, Outcome, OutputFile
from corpgrid.errors import (
    CorpGridError,
    LoadError,
    OutputError,
    SandboxError,
    StoreError,
    UnavailableError,
    UsageError,
)

log = logging.getLogger(__name__)

T = TypeVar("T")
_Attempt = tuple[int, int]
"""Index and attempt of a task."""
_NO_BLOB = Digest(b"")
_AGAIN_SECONDS = 1.0
_TURN_SECONDS = 1.0
_LOGGED_CHARACTERS = 500


class Storage(NamedTuple):
    """Where results go that are too large to ride in a message."""

    put: Callable[[bytes], Awaitable[Digest]]
    put_file: Callable[[Path], Awaitable[Digest]]
    staging: Path


class Slot:
    """One runner's place.  ``run`` works until it is cancelled."""

    def __init__(
        self, number: int, session: Session, runners: RunnerPool, storage: Storage, *, idle_seconds: float
    ) -> None:
        self.worker: Worker | None = None
        self._key: tuple[object, ...] = ()
        self._number = number
        self._session = session
        self._runners = runners
        self._storage = storage
        self._idle_seconds = idle_seconds
        self._job: JobId | None = None
        self._turn_until = 0.0
        self._closing: set[asyncio.Task[None]] = set()
        self._staged = 0
        self._told = ""

    async def run(self, work_came: Bell, finished: Callable[[JobId, Sequence[Item]], None]) -> None:
        """Take tasks as they come, and report how they ended."""
        try:
            while True:
                job = await self._next_job(work_came)
                if job is None:
                    await self._close()
                else:
                    await self._serve(job, finished)
        finally:
            await self._close()

    def kill(self) -> None:
        """End the worker at once."""
        if self.worker is not None:
            self.worker.kill()

    async def _next_job(self, work_came: Bell) -> JobId | None:
        """A job with queued tasks, the warm one until its turn is over; None when nothing came for a while."""
        try:
            async with asyncio.timeout(self._idle_seconds if self.worker is not None else None):
                while not self._has_work():
                    await work_came.heard()
        except TimeoutError:
            return None
        jobs = self._session.queue.jobs()
        if self._job in jobs and not self._turn_over(self._job):
            return self._job
        self._turn_until = time.monotonic() + _TURN_SECONDS
        return next((job for job in jobs if job != self._job), jobs[0])

    def _turn_over(self, job: JobId | None) -> bool:
        """Whether another job's tasks have waited for this one's long enough."""
        return time.monotonic() >= self._turn_until and any(other != job for other in self._session.queue.jobs())

    def _has_work(self) -> bool:
        return self._session.may_run and bool(self._session.queue.jobs())

    async def _serve(self, job: JobId, finished: Callable[[JobId, Sequence[Item]], None]) -> None:
        try:
            prepared = await self._runners.prepare(job)
            worker = await self._worker_for(prepared)
            await self._work(prepared, worker, finished)
        except (CorpGridError, OSError) as error:
            self._cannot(job, error, finished)
            await self._close()
        except Exception as error:
            log.exception("job %s met a bug in CorpGrid", job)
            self._cannot(job, error, finished)
            await self._close()

    def _cannot(self, job: JobId, error: Exception, finished: Callable[[JobId, Sequence[Item]], None]) -> None:
        """The tasks of a job that wait here will not start: hand all of them back with the reason."""
        if isinstance(error, LoadError) and error.reason == "killed":
            return  # by the agent, which has seen to its tasks
        story = f"job {job} cannot run here: {str(error)[:_LOGGED_CHARACTERS]}"
        if story != self._told:  # not once more for each of its tasks
            log.warning("%s", story)
        self._told = story
        if isinstance(error, (OSError, StoreError, SandboxError)):
            log.warning("this device takes no work for %.0f s", self._session.rest(now=time.monotonic()))
        taken = self._session.queue.take(job, self._session.queue.unfinished)
        finished(job, [_not_startable(task, error) for task in taken])

    async def _worker_for(self, prepared: PreparedJob) -> Worker:
        self._job = prepared.job
        if self.worker is not None and self.worker.alive and self._key == prepared.runner_key:
            self._runners.serves(self.worker, prepared.job)
            return self.worker
        self._replace_later()
        self.worker, self._key = await self._runners.start(prepared), prepared.runner_key
        return self.worker

    def _replace_later(self) -> None:
        """Close the worker of another job while the next one starts."""
        worker, self.worker = self.worker, None
        if worker is not None:
            closing = asyncio.create_task(self._runners.discard(worker))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    async def _work(
        self, prepared: PreparedJob, worker: Worker, finished: Callable[[JobId, Sequence[Item]], None]
    ) -> None:
        """Feed the worker until the queue has no more of its job, or it is gone."""
        queue, alone = self._session.queue, prepared.spec.isolation is Isolation.TASK
        running: dict[_Attempt, HeldTask] = {}
        try:
            while True:
                await self._feed(prepared, worker, running)
                batch = await worker.next_batch() if running else []
                if not batch:
                    break
                finished(prepared.job, await self._items(batch, prepared, running))
                for done in batch:
                    running.pop(done[:2], None)
                if alone:
                    break
        finally:
            queue.give_back(running.values())
        if alone or not worker.alive:
            await self._close()

    async def _feed(self, prepared: PreparedJob, worker: Worker, running: dict[_Attempt, HeldTask]) -> None:
        """Hand over the next tasks when half of the last ones are done."""
        queue, alone = self._session.queue, prepared.spec.isolation is Isolation.TASK
        most = 1 if alone else queue.chunk(prepared.job)
        if not (self._session.may_run and worker.alive and len(running) <= (0 if alone else most // 2)):
            return
        if self._turn_over(prepared.job):
            return
        taken = queue.take(prepared.job, most)
        if not taken:
            return
        running.update([(task[1:3], task) for task in taken])
        items = await prepared.items([task.index for task in taken])
        worker.give([RunnerTask(task.index, task.attempt, item) for task, item in zip(taken, items, strict=True)])

    async def _items(
        self, batch: Sequence[Finished], prepared: PreparedJob, running: Mapping[_Attempt, HeldTask]
    ) -> list[Item]:
        """What the scheduler is told; only what has to be stored first waits for anything."""
        inline_bytes = self._session.settings.inline_bytes
        items = []
        for done in batch:
            item = _item(done, running[done[:2]].epoch)
            if done.outputs is not None or len(item.payload) > inline_bytes:
                item = await self._stored(item, done.outputs, prepared)
            items.append(item)
        return items

    async def _stored(self, item: Item, left: Path | None, prepared: PreparedJob) -> Item:
        """An item whose large result and output files are stored."""
        blob = _NO_BLOB
        outputs: tuple[OutputFile, ...] = ()
        wanted = partial(self._session.queue.is_running, prepared.job, item.index, item.attempt)
        try:
            if len(item.payload) > self._session.settings.inline_bytes:
                blob = await _patiently(self._storage.put, item.payload, wanted)
            if left is not None:
                outputs = await self._collect(left, prepared, wanted)
        except (OutputError, UsageError) as error:
            reason = error.reason if isinstance(error, OutputError) else error.code
            return item._replace(outcome=Outcome.FAILED, payload=b"", reason=reason, detail=error.explain())
        except (CorpGridError, OSError) as error:
            log.warning("the result of task %d of %s cannot be stored: %s", item.index, prepared.job, error)
            return item._replace(outcome=Outcome.CRASHED, payload=b"", reason=_code(error), detail=_explain(error))
        return item._replace(payload=b"" if blob else item.payload, blob=blob, outputs=outputs)

    async def _collect(self, folder: Path, prepared: PreparedJob, wanted: Callable[[], bool]) -> tuple[OutputFile, ...]:
        self._staged += 1
        staging = self._storage.staging / f"{self._number}-{self._staged}"

        async def put_file(path: Path) -> Digest:
            return await _patiently(self._storage.put_file, path, wanted)

        return await collect(folder, limits=prepared.spec.limits, staging=staging, put_file=put_file)

    async def _close(self) -> None:
        self._replace_later()
        await asyncio.gather(*self._closing)


def _item(done: Finished, epoch: Epoch) -> Item:
    """What the scheduler is told of a task that needs nothing stored."""
    # By position: this is done for every task, and names cost as much again.
    index, attempt, outcome, payload, reason, detail, seconds, printed, dropped, _ = done
    return Item(index, attempt, epoch, outcome, payload, _NO_BLOB, reason, detail, seconds, printed, dropped)


async def _patiently(put: Callable[[T], Awaitable[Digest]], content: T, wanted: Callable[[], bool]) -> Digest:
    """Store something, however long the scheduler is away, for as long as it is wanted."""
    while True:
        try:
            return await put(content)
        except UnavailableError:
            if not wanted():
                raise
            await asyncio.sleep(_AGAIN_SECONDS)


def _not_startable(task: HeldTask, error: Exception) -> Item:
    """Refused for good, or handed back because the scheduler could not be asked for what it needs."""
    outcome = Outcome.STOPPED if isinstance(error, UnavailableError) else Outcome.REFUSED
    reason = error.reason if isinstance(error, LoadError) else _code(error)
    return Item(task.index, task.attempt, task.epoch, outcome, reason=reason, detail=_explain(error))


def _code(error: Exception) -> str:
    """A short name: that of the error, or of what is wrong with this device."""
    if isinstance(error, CorpGridError):
        return error.code
    return StoreError.code if isinstance(error, OSError) else "agent_fault"


def _explain(error: Exception) -> str:
    if isinstance(error, CorpGridError):
        return error.explain()
    if isinstance(error, OSError):
        return f"the device's disk failed: {error}\n  -> Make room on the disk of agent.folder."
    return f"the agent failed on it: {type(error).__name__}: {error}\n  -> Please report it; the agent's log has more."
