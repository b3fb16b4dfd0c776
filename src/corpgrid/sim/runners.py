"""Simulated runners: what stands in for sandboxes, and nothing else of an agent does.

``SimRunners`` and ``SimSlot`` have the public face of the agent's ``RunnerPool`` and ``Slot``.  A job is verified as an
agent verifies it: specification, bundle, page list and page, by the production code, but in memory.  Then its tasks
take the time that they take, stand still while they are frozen or the computer sleeps, and give what the device's
conscience lets it say.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

from corpgrid.agent.bell import Bell
from corpgrid.agent.queue import HeldTask
from corpgrid.agent.session import Session
from corpgrid.domain.ids import Digest, JobId
from corpgrid.domain.job import JobSpec
from corpgrid.domain.messages import Item, Outcome
from corpgrid.errors import CorpGridError, SignatureError, StoreError, UnavailableError
from corpgrid.ports.api import SchedulerApi
from corpgrid.ports.host import Clock
from corpgrid.sim.liars import Conscience
from corpgrid.sim.workload import Workload, fails, lie, run_seconds, truth
from corpgrid.trust.bundle import verify_bundle
from corpgrid.trust.digest import digest
from corpgrid.trust.jobspec import check_page_list, item_place, page_items, verify_job
from corpgrid.trust.keys import Keyring

_AGAIN_SECONDS = 1.0


class Body(Protocol):
    """The computer under the runners, as far as they feel it."""

    disk_full: bool
    speed: float

    def worked(self, seconds: float) -> None:
        """A runner worked for so long, until now."""

    def finished(self, seconds: float) -> None:
        """So much of its work came to a result."""

    def work_begins(self) -> None:
        """A runner is about to work."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A verified job."""

    job: JobId
    spec: JobSpec
    workload: Workload
    pages: tuple[Digest, ...]
    seen: set[int] = field(default_factory=set)


@dataclass(slots=True)
class _Stint:
    """One runner's work: so many seconds of it are left."""

    job: JobId
    left: float
    done: asyncio.Future[bool]
    since: float | None = None
    timer: asyncio.TimerHandle | None = None


class SimRunners:
    """The runners of one device.

    Args:
        api: where blobs come from.
        keyring: whose jobs may run here.
        clock: the device's.
        body: the device.
        workloads: what jobs compute, by the name that their specification has.
    """

    def __init__(
        self, api: SchedulerApi, keyring: Keyring, clock: Clock, body: Body, workloads: Mapping[str, Workload]
    ) -> None:
        self.body = body
        self.api = api
        self._keyring = keyring
        self._clock = clock
        self._workloads = workloads
        self._envelopes: dict[JobId, bytes] = {}
        self._blobs: dict[Digest, bytes] = {}
        self._prepared: dict[JobId, Prepared] = {}
        self._stints: dict[int, _Stint] = {}
        self._frozen = False

    # -- what the supervisor asks

    def learn(self, specs: Mapping[JobId, bytes], blobs: Iterable[bytes]) -> None:
        """Keep signed specifications, and the small blobs that came with them."""
        self._envelopes.update(specs)
        self._blobs.update((digest(content), content) for content in blobs)

    def known_jobs(self) -> tuple[JobId, ...]:
        """Jobs whose specification need not be sent again."""
        return tuple(self._envelopes)

    def freeze(self) -> None:
        """Stop every runner where it stands."""
        self._frozen = True
        for stint in self._stints.values():
            self._pause(stint)

    def thaw(self) -> None:
        """Let every runner go on."""
        self._frozen = False
        for stint in self._stints.values():
            self._go_on(stint)

    def kill(self, jobs: frozenset[JobId] | None) -> None:
        """End the runners of these jobs, or all."""
        for stint in self._stints.values():
            if (jobs is None or stint.job in jobs) and not stint.done.done():
                self._pause(stint)
                stint.done.set_result(False)

    async def keep_spares(self, _may_run: Callable[[], bool]) -> None:
        """There are none to keep."""

    async def close(self) -> None:
        """End every runner."""
        self.kill(None)

    # -- what slots ask

    async def prepare(self, job: JobId, index: int) -> Prepared:
        """Verify what is needed for one task of a job.

        Raises:
            CorpGridError: something in it does not hold, or could not be fetched.
        """
        prepared = self._prepared.get(job)
        if prepared is None:
            prepared = self._prepared[job] = await self._verify(job)
        if self._clock.now() > prepared.spec.not_after:
            raise SignatureError(f"{job} was to be started before its signature ran out")
        number, _ = item_place(prepared.spec.arguments, index)
        if number not in prepared.seen:
            page_items(await self._blob(prepared.pages[number]))
            prepared.seen.add(number)
        return prepared

    async def compute(self, slot: int, job: JobId, seconds: float) -> bool:
        """Work for so long; False if the runner was ended first."""
        stint = _Stint(job, seconds, asyncio.get_running_loop().create_future())
        self._stints[slot] = stint
        try:
            if not self._frozen:
                self._go_on(stint)
            return await stint.done
        finally:
            self._pause(stint)
            del self._stints[slot]

    async def _verify(self, job: JobId) -> Prepared:
        envelope = self._envelopes.get(job)
        if envelope is None:
            raise SignatureError(f"the scheduler granted tasks of {job} without its signed specification")
        verified = verify_job(envelope, keyring=self._keyring, now=self._clock.now())
        if verified.id != job:
            raise SignatureError(f"the scheduler passed {verified.id} off as {job}")
        spec = verified.spec
        verify_bundle(await self._blob(spec.bundle), expected=spec.bundle, keyring=self._keyring)
        pages = check_page_list(spec.arguments, await self._blob(spec.arguments.pages))
        return Prepared(job, spec, self._workloads[spec.name], pages)

    async def _blob(self, name: Digest) -> bytes:
        content = self._blobs.pop(name, None)
        return content if content is not None else await self.api.get_blob(name)

    # -- stints

    def _go_on(self, stint: _Stint) -> None:
        if stint.since is None and not stint.done.done():
            self.body.work_begins()
            stint.since = self._clock.monotonic()
            stint.timer = asyncio.get_running_loop().call_later(stint.left, self._look, stint)

    def _pause(self, stint: _Stint) -> None:
        if stint.since is not None and stint.timer is not None:
            spent = self._clock.monotonic() - stint.since
            self.body.worked(spent)
            stint.left -= spent
            stint.timer.cancel()
            stint.since = stint.timer = None

    def _look(self, stint: _Stint) -> None:
        """Its time may be over, or the computer slept meanwhile."""
        if stint.since is None:
            return
        left = stint.left - (self._clock.monotonic() - stint.since)
        if left > 0:
            stint.timer = asyncio.get_running_loop().call_later(left, self._look, stint)
        elif not stint.done.done():
            stint.done.set_result(True)


class SimSlot:
    """One place for a runner.

    Args:
        number: which.
        session: what the agent decides.
        runners: of this device.
        conscience: what it says.
        clock: the device's.
        rng: how much its arithmetic is off.
    """

    def __init__(  # noqa: PLR0913 - the parts of a slot
        self,
        number: int,
        session: Session,
        runners: SimRunners,
        *,
        conscience: Conscience,
        clock: Clock,
        rng: Random,
    ) -> None:
        self._number = number
        self._session = session
        self._runners = runners
        self._conscience = conscience
        self._clock = clock
        self._noise = rng.uniform(-1e-9, 1e-9)

    async def run(self, work_came: Bell, finished: Callable[[JobId, Sequence[Item]], None]) -> None:
        """Take tasks as they come, and report how they ended."""
        while True:
            while not self._has_work():
                await work_came.heard()
            await self._serve(self._session.queue.jobs()[0], finished)

    def _has_work(self) -> bool:
        return self._session.may_run and bool(self._session.queue.jobs())

    async def _serve(self, job: JobId, finished: Callable[[JobId, Sequence[Item]], None]) -> None:
        queue = self._session.queue
        tasks = queue.take(job, queue.chunk(job))
        try:
            if self._runners.body.disk_full:
                self._session.rest(now=self._clock.monotonic())
                raise StoreError("the device's disk is full", remedy="Make room on it.")
            prepared = [await self._runners.prepare(job, task.index) for task in tasks][-1]
            items = await self._work(prepared, tasks)
        except CorpGridError as error:
            outcome = Outcome.STOPPED if isinstance(error, UnavailableError) else Outcome.REFUSED
            items = [
                Item(task.index, task.attempt, task.epoch, outcome, reason=error.code, detail=error.explain())
                for task in tasks
            ]
        if items:
            finished(job, items)
        else:
            queue.give_back(tasks)

    async def _work(self, prepared: Prepared, tasks: Sequence[HeldTask]) -> list[Item]:
        """Do these tasks; nothing comes of them if the runner is ended meanwhile."""
        workload, speed = prepared.workload, self._runners.body.speed
        times = [run_seconds(workload, prepared.job, task.index) / speed for task in tasks]
        for task in tasks:
            self._conscience.given(task.job, task.index)
        if not await self._runners.compute(self._number, prepared.job, sum(times)):
            return []
        self._runners.body.finished(sum(times))
        return [await self._item(workload, task, seconds) for task, seconds in zip(tasks, times, strict=True)]

    async def _item(self, workload: Workload, task: HeldTask, seconds: float) -> Item:
        job, index = task.job, task.index
        if fails(workload, job, index):
            return Item(index, task.attempt, task.epoch, Outcome.FAILED, reason="raised", detail="it always does")
        if self._conscience.lies_about(job, index):
            payload = lie(workload, job, index, self._conscience.mind)
        else:
            payload = truth(workload, job, index, noise=self._noise)
        blob = Digest(b"")
        if len(payload) > self._session.settings.inline_bytes:
            payload, blob = b"", await self._stored(task, payload)
        return Item(index, task.attempt, task.epoch, Outcome.RESULT, payload=payload, blob=blob, seconds=seconds)

    async def _stored(self, task: HeldTask, content: bytes) -> Digest:
        """Store a large result, however long the scheduler is away, for as long as it is wanted."""
        while True:
            try:
                return await self._runners.api.put_blob(content)
            except UnavailableError:
                if not self._session.queue.is_running(task.job, task.index, task.attempt):
                    raise
                await asyncio.sleep(_AGAIN_SECONDS)
