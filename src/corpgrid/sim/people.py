"""Submitters: each sends its job until it is acknowledged, follows it to its end, and checks every result.

What a submitter sees is held against what it was promised: a job that was acknowledged stays, each task ends once and
its result never changes, and every accepted result can be read.  Wrong results are counted, not forbidden: how many
there may be is what verification is measured by.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import TypeVar

from corpgrid.domain.answers import Cursor, TaskResult
from corpgrid.domain.ids import JobId
from corpgrid.domain.job import Job, JobSpec, JobState, TaskState, VerifyMode
from corpgrid.errors import CorpGridError, NotFoundError, OverloadedError, StoreError, UnavailableError
from corpgrid.ports.api import GridApi
from corpgrid.sim.loop import SimLoop
from corpgrid.sim.trace import Trace
from corpgrid.sim.workload import Workload, fails, is_right
from corpgrid.trust.bundle import BundleFile, ModuleEntry, build_bundle
from corpgrid.trust.digest import digest
from corpgrid.trust.jobspec import job_id, make_pages, sign_job
from corpgrid.trust.keys import PrivateKey

T = TypeVar("T")

_PAGES_MAX = 32
_PAGE_TASKS_MIN = 64
_AGAIN_SECONDS = 1.0


@dataclass(slots=True)
class Outcome:
    """What came of one job, as its submitter saw it."""

    workload: Workload
    job: JobId
    row: Job | None = None
    submitted_at: float = 0.0
    ended_at: float = 0.0
    seen: dict[int, TaskState] = field(default_factory=dict)
    accepted: int = 0
    wrong: int = 0
    failed: int = 0

    @property
    def verified(self) -> bool:
        """Whether anybody was to check its results."""
        return self.workload.verify.mode is not VerifyMode.NONE


class Person:
    """One submitter with one job.

    Args:
        grid: the grid, over the network.
        key: signs.
        workload: what to compute; its name is how devices find it again.
        rng: chance.
        fail: told of each broken promise.
        honest: whether no device of the grid lies.
    """

    def __init__(  # noqa: PLR0913 - what a person stands on, by keyword
        self,
        *,
        grid: GridApi,
        key: PrivateKey,
        name: str,
        workload: Workload,
        rng: Random,
        loop: SimLoop,
        trace: Trace,
        now: float,
        fail: Callable[[str], None],
        acknowledged: Callable[[JobId], None],
        honest: bool,
    ) -> None:
        self._grid = grid
        self._rng = rng
        self._loop = loop
        self._trace = trace
        self._fail = fail
        self._acknowledged = acknowledged
        self._honest = honest
        items = (b"d%d" % index for index in range(workload.tasks))
        page_tasks = max(_PAGE_TASKS_MIN, -(-workload.tasks // _PAGES_MAX))
        pages, page_list, arguments = make_pages(items, page_tasks)
        bundle = build_bundle(
            {"work.py": BundleFile(b"def work(item): ...")}, engine="python", entry=ModuleEntry("work", "work"), key=key
        )
        spec = JobSpec(
            name=name,
            bundle=digest(bundle),
            arguments=arguments,
            not_after=now + 30 * 86_400.0,
            nonce=f"{rng.getrandbits(64):016x}",
            limits=workload.limits,
            verify=workload.verify,
            priority=workload.priority,
        )
        self.outcome = Outcome(workload, job_id(spec))
        self._envelope = sign_job(spec, key)
        self._blobs = [bundle, page_list, *pages]

    async def run(self) -> None:
        """Submit, follow, read everything."""
        outcome = self.outcome
        outcome.submitted_at = self._loop.time()
        await self._submit()
        if self._rng.random() < 0.3:
            await self._submit()  # people press buttons twice
        if outcome.workload.cancel_after_seconds:
            cancelling = asyncio.create_task(self._cancel())
            await self._follow()
            cancelling.cancel()
        else:
            await self._follow()
        outcome.ended_at = self._loop.time()
        self._check_end()

    async def _submit(self) -> None:
        row = await self._patiently(lambda: self._grid.submit_job(self._envelope, blobs=self._blobs))
        if row.id != self.outcome.job:
            self._fail(f"I1: {self.outcome.job} was submitted, and {row.id} was acknowledged")
        self._trace.note(f"job {row.id} acknowledged")
        self._acknowledged(row.id)

    async def _cancel(self) -> None:
        await asyncio.sleep(self.outcome.workload.cancel_after_seconds)
        await self._patiently(lambda: self._grid.cancel_job(self.outcome.job, reason="no more of it"))

    async def _follow(self) -> None:
        cursor = Cursor()
        while True:
            results = partial(self._grid.results, self.outcome.job, limit=5_000, wait_seconds=20.0)
            page = await self._patiently(partial(results, after=cursor))
            for result in page.results:
                await self._take(result)
            cursor = page.cursor
            if page.complete:
                self.outcome.row = page.job
                return

    async def _take(self, result: TaskResult) -> None:
        outcome = self.outcome
        if result.index in outcome.seen:
            self._fail(f"I3: task {result.index} of {outcome.job} ended twice for its reader")
        outcome.seen[result.index] = result.state
        if result.state is TaskState.FINAL:
            outcome.accepted += 1
            payload = result.payload
            if result.blob:
                payload = await self._patiently(lambda: self._grid.get_blob(result.blob))
            if not is_right(outcome.workload, outcome.job, result.index, payload):
                outcome.wrong += 1
                self._trace.note(f"task {outcome.job}/{result.index} is wrong and accepted")
                if self._honest:
                    self._fail(f"V6: task {outcome.job}/{result.index} is wrong, and nobody lied")
        elif result.state is TaskState.FAILED:
            outcome.failed += 1
            if not fails(outcome.workload, outcome.job, result.index):
                self._trace.note(f"task {outcome.job}/{result.index} failed: {result.reason}")

    def _check_end(self) -> None:
        outcome = self.outcome
        assert outcome.row is not None
        self._trace.note(f"job {outcome.job} {outcome.row.state} {len(outcome.seen)}")
        if len(outcome.seen) != outcome.workload.tasks:
            self._fail(f"I2: {outcome.job} ended, and {len(outcome.seen)} of its {outcome.workload.tasks} tasks did")
        if outcome.row.state is JobState.DONE and outcome.accepted != outcome.workload.tasks:
            self._fail(f"I4: {outcome.job} is done, and {outcome.accepted} of its results could be read")

    async def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask until somebody answers."""
        while True:
            try:
                return await ask()
            except (UnavailableError, OverloadedError, StoreError):
                await asyncio.sleep(_AGAIN_SECONDS * (0.5 + self._rng.random()))
            except NotFoundError as error:
                self._fail(f"I1: what was acknowledged is not there: {error}")
                raise
            except CorpGridError as error:
                self._fail(f"I4: a submitter was told: {error}")
                raise
