"""Whatever a job names that runs, or ended lately, outlives every collection; also one that other things race with.

A whole scheduler over a real store and blobs that know their age.  While a collection reads what is referenced, jobs
are submitted, cancelled and finished, and time passes; a client sends only the blobs that it is told are missing, as
the library does.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from corpgrid.blobs.memory import MemoryBlobs
from corpgrid.domain.answers import Cursor
from corpgrid.domain.ids import Digest, JobId
from corpgrid.domain.job import JobSpec, JobState, TaskState, VerifyMode, VerifyPolicy
from corpgrid.domain.messages import OutputFile
from corpgrid.errors import CollectedError, ConflictError, NotFoundError
from corpgrid.scheduler import evidence
from corpgrid.scheduler.footprint import read_spec
from corpgrid.stores.sqlite.store import SqliteStore
from corpgrid.trust.bundle import BundleFile, ModuleEntry, Wheel, build_bundle, verify_bundle
from corpgrid.trust.digest import digest
from corpgrid.trust.jobspec import check_page_list, make_pages, sign_job
from tests.unit.scheduler.test_reaper import reaper
from tests.unit.scheduler.world import Actor, ManualClock, World

T = TypeVar("T")
GRACE, KEEP = 100.0, 1_000.0
KINDS = st.sampled_from(["submit", "work", "cancel", "wait"])


class ClockLoop(asyncio.SelectorEventLoop):
    """A loop whose time is the clock's: what waits for a time waits for ever."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__()
        self._manual = clock

    def time(self) -> float:
        return self._manual.time


class Collections(RuleBasedStateMachine):
    """One grid, its people, its only device and its collections."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(collect_grace_seconds=GRACE, keep_seconds=KEEP)
        self.clock = self.world.clock
        self.world.blobs = MemoryBlobs(self.clock)  # type: ignore[assignment]
        self.loop = ClockLoop(self.clock)
        self.folder = tempfile.TemporaryDirectory()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(evidence, "_AT_HAND_SECONDS", 0.0)
        self.bundles = [self.bundle(number) for number in range(3)]
        self.inputs = [b"input %d" % number for number in range(3)]
        self.jobs: list[JobId] = []
        self.actor: Actor

    def bundle(self, number: int) -> tuple[bytes, bytes]:
        """Signed code, and the wheel that it needs."""
        wheel = b"wheel %d" % number
        content = build_bundle(
            {"search.py": BundleFile(b"def f(x): return %d" % number)},
            engine="python",
            entry=ModuleEntry("search", "f"),
            environment=(Wheel("a-1.0-py3-none-any.whl", digest(wheel), len(wheel)),),
            key=self.world.person,
        )
        return content, wheel

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    @initialize(sqlite=st.booleans())
    def start(self, *, sqlite: bool) -> None:
        async def begin() -> None:
            world = self.world
            if sqlite:
                world.store = await SqliteStore.open(Path(self.folder.name) / "grid.db", world.settings)
            world.scheduler = world.make()
            await world.scheduler.start()
            self.actor = world.actor()
            await self.actor.register()

        self.run(begin())

    def teardown(self) -> None:
        async def end() -> None:
            await self.world.scheduler.stop()
            await self.world.store.close()

        self.run(end())
        self.loop.close()
        self.folder.cleanup()
        self.patch.undo()

    # -- what happens, also in the middle of a collection

    async def happen(self, kind: str, which: int) -> None:
        match kind:
            case "submit":
                await self.submit(which % 3, (which + len(self.jobs)) % 3)
            case "work":
                await self.work()
            case "cancel" if self.jobs:
                await self.world.scheduler.grid.cancel_job(self.jobs[which % len(self.jobs)])
            case "wait":
                self.clock.time += GRACE / 4
            case _:
                pass

    async def submit(self, code: int, data: int) -> None:
        """As the library does: nothing is sent that is there already."""
        world, grid = self.world, self.world.scheduler.grid
        (bundle, wheel), data_file = self.bundles[code], self.inputs[data]
        number = len(self.jobs)
        large = [b"%d/%d" % (number, place) * 20_000 for place in range(2)]
        pages, page_list, arguments = make_pages(large, 1)
        spec = JobSpec(
            name="a job",
            bundle=digest(bundle),
            arguments=arguments,
            inputs={"data": digest(data_file)},
            not_after=self.clock.now() + 1e6,
            nonce=str(number),
            verify=VerifyPolicy(mode=VerifyMode.NONE),
        )
        wanted = [bundle, wheel, data_file, *pages]
        for _ in range(2):
            missing = await grid.missing_blobs([digest(content) for content in wanted])
            for content in wanted:
                if digest(content) in missing:
                    await grid.put_blob(content)
            try:
                row = await grid.submit_job(sign_job(spec, world.person), blobs=[page_list])
            except ConflictError:
                continue
            self.jobs.append(row.id)
            return
        raise AssertionError("a job was refused that came with all its blobs")

    async def work(self) -> None:
        """Do what is there to do, with a large result and a file for each task."""
        reply = await self.actor.poll(wanted=3)
        batches = []
        for grant in reply.grants:
            name = f"{grant.job} {grant.tasks[0].index}".encode()
            blob = await self.world.scheduler.agents.put_blob(b"result " + name)
            file = OutputFile("file", await self.world.scheduler.agents.put_blob(b"file " + name), 1)
            batches.append(self.actor.results(grant, payload=b"", blob=blob, outputs=(file,)))
        await self.actor.submit(*batches)
        self.actor.held = ()

    @rule(kind=KINDS, which=st.integers(0, 9))
    def something(self, kind: str, which: int) -> None:
        self.run(self.happen(kind, which))

    @rule(seconds=st.sampled_from([GRACE / 2, GRACE * 1.5, KEEP / 2, KEEP * 1.1]))
    def time_passes(self, seconds: float) -> None:
        self.clock.time += seconds
        self.run(self.actor.heartbeat())

    @precondition(lambda self: self.jobs)
    @rule(race=st.lists(st.tuples(st.integers(0, 12), KINDS, st.integers(0, 9)), max_size=4))
    def collect(self, race: Sequence[tuple[int, str, int]]) -> None:
        """Things happen after so many digests were read, and when all rows were thrown away and none yet."""
        young = self.run(self.young())
        store = self.world.store

        async def racing() -> None:
            made = reaper(self.world, keep_seconds=KEEP, collect_grace_seconds=GRACE)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(store, "referenced", self.interrupted(store.referenced, list(race)))
                await made.collect()

        self.run(racing())
        self.run(self.check(young))

    def interrupted(
        self, referenced: Callable[..., Awaitable[AsyncIterator[Digest]]], race: list[tuple[int, str, int]]
    ) -> Callable[..., Awaitable[AsyncIterator[Digest]]]:
        async def digests(**asked: float) -> AsyncIterator[Digest]:
            place = 0
            async for name in await referenced(**asked):
                for _, kind, which in [event for event in race if event[0] == place]:
                    await self.happen(kind, which)
                place += 1
                yield name
            for _, kind, which in [event for event in race if event[0] >= place]:
                await self.happen(kind, which)

        async def stream(**asked: float) -> AsyncIterator[Digest]:
            return digests(**asked)

        return stream

    # -- what must hold

    async def young(self) -> set[JobId]:
        """Jobs that cannot be too old, whatever happens now."""
        rows = [await self.world.scheduler.grid.job(job) for job in self.jobs]
        limit = self.clock.time - KEEP
        return {row.id for row in rows if row.state is JobState.RUNNING or row.finished_at >= limit}

    async def check(self, young: set[JobId]) -> None:
        before = set(self.jobs) - await self.young()
        for job in self.jobs:
            row = await self.world.scheduler.grid.job(job)
            if job in young or job not in before:
                await self.check_kept(job, running=row.state is JobState.RUNNING)
            else:
                await self.check_old(job)

    async def check_kept(self, job: JobId, *, running: bool) -> None:
        grid, blobs = self.world.scheduler.grid, self.world.scheduler.blobs
        envelope = await self.world.store.envelope(job)
        assert envelope is not None
        spec = read_spec(envelope)
        await blobs.get(spec.inputs["data"])
        bundle = await blobs.get(spec.bundle)
        page_list = await blobs.get(spec.arguments.pages)
        if running:
            manifest = verify_bundle(bundle, expected=spec.bundle, keyring=self.world.keyring).manifest
            wheels = (wheel.digest for wheel in manifest.environment)
            for name in (*check_page_list(spec.arguments, page_list), *wheels):
                await blobs.get(name)
        for result in (await grid.results(job, after=Cursor())).results:
            if result.state is TaskState.FINAL:
                await blobs.get(result.blob)
                await blobs.get(result.outputs[0].digest)

    async def check_old(self, job: JobId) -> None:
        """It has its results whole, or says that they are gone."""
        try:
            page = await self.world.scheduler.grid.results(job, after=Cursor())
        except CollectedError:
            return
        except NotFoundError as error:
            raise AssertionError(f"{job} is old, and says {error}") from error
        for result in page.results:
            assert result.state is TaskState.CANCELLED, "an old result outlived a collection"


TestCollections = Collections.TestCase
TestCollections.settings = settings(
    max_examples=40,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
