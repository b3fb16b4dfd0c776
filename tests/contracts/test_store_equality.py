"""Memory and SQLite are the same store: the same random ticks give the same views and the same reads.

The effects are not those of the grid's rules, but whatever a row can hold; so the stores are equal also where the rules
never go.  That the SQLite store remembers what it wrote must not show: ticks fail at their beginning and at their end,
the store is opened again, and ticks are decided with everything in view or with nothing.
"""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from corpgrid.domain.attempt import AttemptState
from corpgrid.domain.device import DeviceState, Gpu
from corpgrid.domain.effects import AuditEntry, Checkpoint, Effects, Need, Standing, StoredBatch, View
from corpgrid.domain.ids import DeviceId, Digest, JobId, TaskKey
from corpgrid.domain.job import ComparatorKind, Counts, JobState, Purpose, Task, TaskState
from corpgrid.errors import StoreError
from corpgrid.ports.store import Store
from corpgrid.stores.memory import MemoryStore
from corpgrid.stores.sqlite.store import SqliteStore, Writer
from tests.contracts import store_rows as rows

T = TypeVar("T")
JOBS = [f"job_{letter}" for letter in "abcd"]
DEVICES = [f"dev_{letter}" for letter in "abcd"]
SHAPES = st.sampled_from([rows.named("shape 1"), rows.named("shape 2")])
FLOATS = st.floats(0.0, 1e10, allow_subnormal=False)
REASONS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
SMALL = st.integers(0, 3)
REVS = st.integers(0, 5)
AGES = [0.0, 1.0, 2.0]
"""Seconds between the start and the end of a job."""


class Equality(RuleBasedStateMachine):
    """Two stores side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock = rows.FakeClock()
        self.folder = tempfile.TemporaryDirectory()
        self.memory = MemoryStore(rows.settings(self.clock))
        self.sqlite = self.run(self.open())
        self.blind = False
        self.size: dict[str, int] = {}
        self.known: set[str] = set()
        self.batches = 0

    async def open(self) -> SqliteStore:
        return await SqliteStore.open(Path(self.folder.name) / "grid.db", rows.settings(self.clock))

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(coroutine)

    def teardown(self) -> None:
        self.run(self.sqlite.close())
        self.loop.close()
        self.folder.cleanup()

    # -- ticks

    def tick(self, effects: Effects, need: Need | None = None) -> None:
        """The same effects to both; what they saw before must have been the same."""
        need = need or (Need() if self.blind else self.everything)
        first = self.run(rows.tick(self.memory, need, effects))
        second = self.run(rows.tick(self.sqlite, need, effects))
        assert first == second

    @property
    def everything(self) -> Need:
        return Need(
            devices=frozenset(map(DeviceId, DEVICES)),
            tasks=frozenset(self.keys()),
            jobs=frozenset(map(JobId, JOBS)),
            ready_limit=4,
            sweep=True,
            sweep_limit=3,
        )

    def keys(self) -> list[TaskKey]:
        return [(JobId(job), index) for job, size in self.size.items() for index in range(size + 1)]

    @initialize(tasks=st.tuples(st.integers(2, 6), st.integers(2, 6)))
    def start(self, tasks: tuple[int, int]) -> None:
        self.known = set(DEVICES[:2])
        self.size = dict(zip(JOBS, tasks, strict=False))
        devices = (rows.device(DEVICES[0]), rows.device(DEVICES[1], owner="bob"))
        kinds = (ComparatorKind.BYTES, ComparatorKind.JSON)
        jobs = zip(self.size.items(), kinds, strict=True)
        new_jobs = tuple(rows.new_job(job, size, kind=kind) for (job, size), kind in jobs)
        self.tick(Effects(devices=devices, new_jobs=new_jobs))
        for job in self.size:
            self.give(job, self.some(job)[:2], devices[0], Purpose.PRIMARY)
            self.provide(job, self.some(job)[1:2], devices[0], AttemptState.RETURNED)
            self.give(job, self.some(job)[1:2], devices[1], Purpose.AUDIT)

    @rule(data=st.data())
    def look(self, data: st.DataObject) -> None:
        """See some of it."""
        some = st.frozensets(st.sampled_from(DEVICES).map(DeviceId), max_size=2)
        need = Need(
            devices=data.draw(some),
            tasks=data.draw(st.frozensets(st.sampled_from(self.keys()), max_size=2)),
            jobs=data.draw(st.frozensets(st.sampled_from(JOBS).map(JobId), max_size=1)),
            ready_limit=data.draw(st.integers(0, 6)),
            sweep=data.draw(st.booleans()),
            sweep_limit=data.draw(st.integers(1, 5)),
            release=data.draw(some),
        )
        self.tick(Effects(), need)

    @rule(blind=st.booleans())
    def see(self, *, blind: bool) -> None:
        """Decide the ticks that come with everything in view, or with nothing: what is written is the same."""
        self.blind = blind

    @rule()
    def reopen(self) -> None:
        """What was remembered is gone."""
        self.run(self.sqlite.close())
        self.sqlite = self.run(self.open())

    @rule(seconds=st.sampled_from([0.0, 0.3, 1.0, 7.7, 61.0]))
    def wait(self, seconds: float) -> None:
        self.clock.time += seconds

    @rule(
        names=st.sets(st.sampled_from(DEVICES), min_size=1, max_size=2),
        owner=st.sampled_from(["ann", "bob"]),
        state=st.sampled_from([DeviceState.ACTIVE, DeviceState.QUARANTINED, DeviceState.REVOKED]),
        trusted=st.booleans(),
        blockers=st.sampled_from([(), ("battery",)]),
        gpus=st.lists(st.sampled_from([Gpu(backend="cuda", name="A"), Gpu(backend="metal", name="B")]), max_size=2),
        headroom=FLOATS,
    )
    def put_devices(self, *, names, owner, state, trusted, blockers, gpus, headroom) -> None:
        devices = []
        for name in names:
            row = rows.device(name, owner=owner, seen=self.clock.time)
            facts = replace(row.facts, gpus=tuple(gpus), thermal_headroom=headroom)
            devices.append(replace(row, state=state, trusted=trusted, blockers=blockers, facts=facts))
        self.known |= names
        self.tick(Effects(devices=tuple(devices)))

    @precondition(lambda self: len(self.size) < len(JOBS))
    @rule(
        data=st.data(),
        tasks=st.integers(1, 6),
        copies=st.integers(0, 2),
        priority=st.sampled_from([10, 50]),
        age=st.sampled_from([0.0, 1.0]),
        kind=st.sampled_from([ComparatorKind.BYTES, ComparatorKind.JSON]),
    )
    def submit(self, *, data, tasks, copies, priority, age, kind) -> None:
        name = data.draw(st.sampled_from([job for job in JOBS if job not in self.size]))
        created = self.clock.time - age
        new = rows.new_job(name, tasks, copies=copies, priority=priority, created_at=created, kind=kind)
        new = new._replace(attachments=((rows.named("page"), b"page"), (rows.named(name), name.encode())))
        self.size[name] = tasks
        self.tick(Effects(new_jobs=(new,)))

    @rule(
        data=st.data(), purpose=st.sampled_from(Purpose), ttl=st.sampled_from([0.2, 5.0]), remaining=st.integers(0, 3)
    )
    def hand_out(self, data, purpose, ttl, remaining) -> None:
        job, picked = self.draw_tasks(data)
        on = rows.device(data.draw(st.sampled_from(sorted(self.known))))
        self.give(job, picked, on, purpose, ttl=ttl, remaining=remaining)

    def give(self, job, picked, on, purpose, *, ttl=5.0, remaining=2) -> None:
        """Lease tasks to a device; one that has a result keeps it."""
        epoch = self.run(rows.tick(self.memory)).next_epoch
        made, changed = [], []
        for row in picked:
            made.append(rows.attempt(job, row.index, on=on, epoch=epoch, number=row.attempts)._replace(purpose=purpose))
            state = TaskState.PROVISIONAL if row.accepted >= 0 else TaskState.LEASED
            changed.append(row._replace(state=state, open=0, live=1, attempts=row.attempts + 1))
        lease = rows.lease(epoch, on=on, job=job, until=self.clock.time + ttl, remaining=remaining)
        self.tick(Effects(tasks=tuple(changed), new_attempts=tuple(made), leases=(lease,)))

    @rule(data=st.data(), state=st.sampled_from([AttemptState.RETURNED, AttemptState.ACCEPTED]))
    def commit(self, data, state) -> None:
        """Results of the newest attempts of some tasks, which become provisional."""
        job, picked = self.draw_tasks(data)
        self.provide(job, picked, rows.device(data.draw(st.sampled_from(sorted(self.known)))), state)

    def provide(self, job, picked, on, state) -> None:
        self.batches += 1
        ended, changed = [], []
        for position, row in enumerate(picked):
            for attempt in self.run(self.memory.attempts(row.job, row.index))[-1:]:
                end = attempt._replace(state=state, batch=self.batches, position=position)
                ended.append(end._replace(digest=rows.named(f"{position}")))
                changed.append(row._replace(state=TaskState.PROVISIONAL, accepted=attempt.number, live=0))
        content = rows.batch(self.batches, job, on, payloads=[b"%d" % place for place in range(len(picked))])
        self.tick(Effects(tasks=tuple(changed), attempts=tuple(ended), batches=(content,)))

    @rule(data=st.data(), seconds=FLOATS, reason=REASONS, wreck=st.booleans())
    def bring_back(self, data, seconds, reason, wreck) -> None:
        """Any end of the newest attempts of some tasks, in a new batch; the tasks go wherever they like."""
        job, picked = self.draw_tasks(data)
        self.batches += 1
        ended, changed = [], []
        for position, row in enumerate(picked):
            attempts = self.run(self.memory.attempts(row.job, row.index))
            for attempt in attempts[-1:]:
                state = data.draw(st.sampled_from(AttemptState))
                end = attempt._replace(state=state, batch=self.batches, position=position, seconds=seconds)
                ended.append(end._replace(digest=rows.named(f"{position}"), reason=reason))
            accepted = data.draw(st.integers(-1, len(attempts) - 1))
            states = [state for state in TaskState if accepted >= 0 or state is not TaskState.PROVISIONAL]
            state = data.draw(st.sampled_from(states))
            rev = data.draw(REVS) if state in {TaskState.FINAL, TaskState.FAILED} or wreck else 0
            ready_at = self.clock.time + data.draw(st.one_of(st.sampled_from([0.0, 3.3]), FLOATS))
            moved = row._replace(state=state, accepted=accepted, open=data.draw(SMALL), live=data.draw(SMALL))
            changed.append(moved._replace(final_rev=rev, ready_at=ready_at, failures=data.draw(SMALL), reason=reason))
        on = rows.device(data.draw(st.sampled_from(sorted(self.known))))
        content = rows.batch(self.batches, job, on, payloads=[b"%d" % place for place in range(len(picked))])
        self.tick(Effects(tasks=tuple(changed), attempts=tuple(ended), batches=(content,)))

    @rule(data=st.data(), state=st.sampled_from([AttemptState.RUNNING, AttemptState.YIELDED, AttemptState.STOPPED]))
    def report(self, data, state) -> None:
        """Attempts move, and their tasks do not."""
        _, picked = self.draw_tasks(data)
        attempts = [self.run(self.memory.attempts(row.job, row.index))[-1:] for row in picked]
        self.tick(Effects(attempts=tuple(row._replace(state=state) for last in attempts for row in last)))

    @rule(data=st.data(), live=SMALL, failures=SMALL)
    def move(self, data, live, failures) -> None:
        """Tasks move, and their attempts do not."""
        _, picked = self.draw_tasks(data)
        self.tick(Effects(tasks=tuple(row._replace(live=live, failures=failures) for row in picked)))

    @rule(
        data=st.data(),
        state=st.sampled_from([JobState.RUNNING, JobState.RUNNING, JobState.DONE]),
        counts=st.builds(Counts, *[SMALL] * len(Counts._fields)),
        unsettled=SMALL,
        bound=FLOATS,
        finished=st.sampled_from(AGES),
    )
    def put_job(self, *, data, state, counts, unsettled, bound, finished) -> None:
        name = data.draw(st.sampled_from(sorted(self.size)))
        changes = {"state": state, "counts": counts, "unsettled": unsettled, "error_bound": bound}
        changes["finished_at"] = rows.START + finished
        self.tick(Effects(jobs=(self.run(rows.rev_up(self.memory, name, **changes)),)))

    @rule(data=st.data())
    def finalise(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.size)))
        row = self.run(rows.rev_up(self.memory, name))
        self.tick(Effects(jobs=(row,), finalised=(row.id,)))

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.size)))
        row = self.run(rows.rev_up(self.memory, name))
        self.tick(Effects(jobs=(row,), cancelled=(row.id,)))

    @rule(before=st.sampled_from(AGES))
    def collect(self, before: float) -> None:
        """What jobs brought that ended earlier is thrown away."""
        asked = {"ended_before": rows.START + before, "now": self.clock.time}
        assert self.run(self.memory.collect(**asked)) == self.run(self.sqlite.collect(**asked))

    @rule(data=st.data(), until=st.sampled_from([0.0, 2.2]), remaining=st.integers(0, 2), extend=FLOATS)
    def put_lease(self, data, until, remaining, extend) -> None:
        view = self.run(rows.tick(self.memory, Need(devices=frozenset(map(DeviceId, DEVICES)))))
        leases = [row._replace(until=self.clock.time + until, remaining=remaining) for row in view.leases.values()]
        chosen = (data.draw(st.sampled_from(leases)),) if leases else ()
        self.tick(Effects(leases=chosen, extend_leases_seconds=extend))

    @rule(data=st.data(), shape=SHAPES, returned=SMALL, step=SMALL)
    def note(self, data, shape, returned, step) -> None:
        """Standings, checkpoints and lines of the audit log."""
        device = DeviceId(data.draw(st.sampled_from(sorted(self.known))))
        job = JobId(data.draw(st.sampled_from(sorted(self.size))))
        bundle = Digest(data.draw(st.sampled_from([rows.named("bundle"), rows.named("other")])))
        checkpoint = Checkpoint(job, 0, 0, step, rows.named(f"step {step}"), self.clock.time)
        audit = (AuditEntry(self.clock.time, "kind", device, "actor"), AuditEntry(1.5, "kind", job, "actor", "d"))
        standing = Standing(device, bundle, Digest(shape), returned, 0)
        self.tick(Effects(standings=(standing,), checkpoints=(checkpoint,), audit=audit))

    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        """Effects that a store cannot hold change nothing in either."""
        job = data.draw(st.sampled_from(sorted(self.size)))
        wrong = [Effects(tasks=(rows.task("job_x", 0),), audit=(AuditEntry(1.0, "never", "x", "x"),))]
        wrong.append(Effects(new_jobs=(rows.new_job(job, 1),), extend_leases_seconds=9.0))
        if self.batches:
            again = StoredBatch(self.batches, JobId(job), DeviceId(DEVICES[0]), content=b"")
            wrong.append(Effects(batches=(again,), extend_leases_seconds=9.0))
        effects = data.draw(st.sampled_from(wrong))
        for store in (self.memory, self.sqlite):
            try:
                self.run(rows.tick(store, effects=effects))
            except StoreError:
                continue
            raise AssertionError(f"{store} took {effects}")

    @rule(data=st.data(), when=st.sampled_from(["deciding", "committing"]))
    def undo(self, data: st.DataObject, when: str) -> None:
        """A tick that fails at its beginning, or with everything written but not committed, changes nothing."""
        effects = self.much(data)

        def decide(_: View) -> Effects:
            if when == "deciding":
                raise sqlite3.OperationalError
            return effects

        with patch.object(Writer, "_measure", side_effect=sqlite3.OperationalError), suppress(StoreError):
            self.run(self.sqlite.transact(self.everything, decide))
            raise AssertionError("the tick was committed")

    def much(self, data: st.DataObject) -> Effects:
        """A change of every kind of row that may be remembered."""
        on = rows.device(data.draw(st.sampled_from(DEVICES)), seen=self.clock.time)
        name, picked = self.draw_tasks(data)
        job = self.run(rows.rev_up(self.memory, name, unsettled=9))
        view = self.run(rows.tick(self.memory, self.everything))
        number = view.next_epoch
        return Effects(
            new_jobs=(rows.new_job("job_x", 2),),
            jobs=(job,),
            devices=(replace(on, state=DeviceState.QUARANTINED),),
            tasks=tuple(row._replace(live=1, attempts=row.attempts + 1, state=TaskState.LEASED) for row in picked),
            new_attempts=tuple(
                rows.attempt(name, row.index, on=on, epoch=number, number=row.attempts) for row in picked
            ),
            leases=(rows.lease(number, on=on, job=name, until=self.clock.time, remaining=1),),
            standings=(Standing(on.id, rows.named("bundle"), rows.named("shape 1"), 99, 9),),
            cancelled=data.draw(st.sampled_from([(), (job.id,)])),
            extend_leases_seconds=3.0,
        )

    def some(self, job: str) -> list[Task]:
        """The tasks of a job."""
        return self.run(self.memory.tasks(JobId(job)))

    def draw_tasks(self, data: st.DataObject):
        job = data.draw(st.sampled_from(sorted(self.size)))
        tasks = self.some(job)
        tried = [row for row in tasks if row.attempts]
        tasks = tried if tried and data.draw(st.booleans()) else tasks
        return job, data.draw(st.lists(st.sampled_from(tasks), min_size=1, max_size=4, unique_by=lambda row: row.index))

    # -- reads

    @invariant()
    def reads_are_equal(self) -> None:
        self.tick(Effects(), self.everything)
        assert self.run(self.read(self.memory)) == self.run(self.read(self.sqlite))

    async def read(self, store: Store) -> dict[str, object]:
        found: dict[str, object] = {
            "jobs": await store.jobs(),
            "running": await store.jobs(states=[JobState.RUNNING], limit=2),
            "devices": await store.devices(),
            "page": await store.attached(rows.named("page")),
            "audit": await store.audit_log(subject="dev_a"),
            "last_seen": await store.last_seen(),
            "batches": await store.batches(range(self.batches + 2)),
            "referenced": {digest async for digest in await store.referenced()},
        }
        for age in AGES:
            live = {digest async for digest in await store.referenced(ended_after=rows.START + age)}
            found[f"referenced after {age}"] = live
        for job in map(JobId, JOBS):
            found[f"{job} tasks"] = await store.tasks(job)
            found[f"{job} page"] = await store.attached(rows.named(job))
            found[f"{job} some"] = await store.tasks(job, states=[TaskState.FAILED, TaskState.FINAL], after=1, limit=2)
            found[f"{job} ended"] = await store.ended(job, after=(1, 2), limit=3)
            found[f"{job} provisional"] = await store.provisional(job, after=0)
            found[f"{job} attempts"] = [await store.attempts(job, index) for index in range(self.size.get(job, 0))]
            found[f"{job} checkpoints"] = await store.checkpoints(job, 0)
            found[f"{job} story"] = [line for _, line in await store.audit_log(subject=job)]
        return found


TestEquality = Equality.TestCase
TestEquality.settings = settings(
    max_examples=30,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
