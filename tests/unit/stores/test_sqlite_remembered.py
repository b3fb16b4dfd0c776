"""What the writer wrote it does not read back, and what it remembers stays within bounds."""

from __future__ import annotations

import pytest

from corpgrid.domain.attempt import AttemptState
from corpgrid.domain.effects import Effects, Need, Standing
from corpgrid.domain.ids import DeviceId, Digest, JobId
from corpgrid.domain.job import Counts, JobState, TaskState
from corpgrid.ports.store import Store
from corpgrid.stores.memory import MemoryStore
from corpgrid.stores.sqlite import remembered as sqlite_remembered
from corpgrid.stores.sqlite.database import Database
from corpgrid.stores.sqlite.store import SqliteStore
from tests.contracts.store_rows import (
    START,
    FakeClock,
    attempt,
    batch,
    device,
    key,
    lease,
    named,
    need,
    new_job,
    rev_up,
    settings,
    tick,
)

ON = device("dev_a")
ALL = need(devices=["dev_a"], jobs=["job_a"], tasks=[key("job_a", index) for index in range(8)])


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The statements that were read with, in order, but for the count of the owners, which is made in each tick."""
    names: list[str] = []
    rows = Database.rows

    def recorded(self: Database, name: str, *values: object):
        if name != "owners":
            names.append(name)
        return rows(self, name, *values)

    monkeypatch.setattr(Database, "rows", recorded)
    return names


async def start(store: Store) -> None:
    await tick(store, need(), Effects(devices=(ON,), new_jobs=(new_job("job_a", 8),)))


async def grant(store: Store, first: int, count: int, *, wanted: Need = ALL) -> None:
    """Lease tasks that were never tried."""
    view = await tick(store, wanted)
    tasks = [view.tasks[key("job_a", index)] for index in range(first, first + count)]
    made = tuple(attempt("job_a", row.index, on=ON, epoch=view.next_epoch) for row in tasks)
    moved = tuple(row._replace(state=TaskState.LEASED, open=0, live=1, attempts=1) for row in tasks)
    granted = lease(view.next_epoch, on=ON, job="job_a", until=START + 9.0, remaining=count)
    await tick(store, wanted, Effects(tasks=moved, new_attempts=made, leases=(granted,)))


async def test_of_results_only_runs_are_read(store: SqliteStore, asked: list[str]) -> None:
    await start(store)
    await grant(store, 0, 4)
    wanted = need(devices=["dev_a"], jobs=["job_a"], tasks=[key("job_a", index) for index in range(4)])
    asked.clear()
    view = await tick(store, wanted)
    assert asked == ["tasks_in", "attempts_in"]
    assert len(view.tasks) == len(view.attempts) == 4
    assert len(view.leases) == len(view.devices) == len(view.jobs) == len(view.specs) == 1
    done = tuple(
        row._replace(state=AttemptState.ACCEPTED, batch=1, digest=named("result"))
        for rows in view.attempts.values()
        for row in rows
    )
    ended = tuple(row._replace(state=TaskState.FINAL, live=0, accepted=0, final_rev=2) for row in view.tasks.values())
    job = await rev_up(store, "job_a", counts=Counts(ready=4, final=4))
    asked.clear()
    effects = Effects(jobs=(job,), tasks=ended, attempts=done, batches=(batch(1, "job_a", ON),))
    await tick(store, wanted, effects)
    assert asked == ["tasks_in", "attempts_in"], "what changes was seen: to write it takes no reading"
    assert (await tick(store, wanted)).tasks == {(row.job, row.index): row for row in ended}


async def test_a_task_that_was_not_in_view_is_not_remembered_by_half(store: SqliteStore) -> None:
    await start(store)
    await grant(store, 0, 1)
    view = await tick(store, ALL)
    row, (first,) = view.tasks[key("job_a", 0)], view.attempts[key("job_a", 0)]
    second = attempt("job_a", 0, on=ON, epoch=1, number=1)
    await tick(store, need(), Effects(tasks=(row._replace(live=2, attempts=2),), new_attempts=(second,)))
    assert (await tick(store, ALL)).attempts[key("job_a", 0)] == (first, second)


async def test_a_store_that_was_opened_reads_once(store: SqliteStore, clock: FakeClock, asked: list[str]) -> None:
    await start(store)
    await grant(store, 0, 4)
    before = await tick(store, ALL)
    path = store._databases[0][1].path
    await store.close()
    again = await SqliteStore.open(path, settings(clock))
    assert await tick(again, ALL) == before
    asked.clear()
    assert await tick(again, need(devices=["dev_a"], jobs=["job_a"])) is not None
    assert asked == []
    await again.close()


async def test_standings_that_are_not_there_are_remembered_too(store: SqliteStore, asked: list[str]) -> None:
    await start(store)
    wanted = need(devices=["dev_a"], jobs=["job_a"])
    assert (await tick(store, wanted)).standings == {}
    asked.clear()
    assert (await tick(store, wanted)).standings == {}
    standing = Standing(DeviceId("dev_a"), Digest(named("bundle")), named("shape"), 1, 1)
    await tick(store, effects=Effects(standings=(standing,)))
    assert list((await tick(store, wanted)).standings.values()) == [standing]
    assert asked == []


async def test_what_is_remembered_is_bounded(
    store: SqliteStore, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_SPECS", "_JOBS", "_DEVICES", "_STANDINGS"):
        monkeypatch.setattr(sqlite_remembered, name, 3)
    reference = MemoryStore(settings(clock))
    for one in (reference, store):
        await start(one)
    for number in range(4):
        more = Effects(devices=(device(f"dev_{number}"),), new_jobs=(new_job(f"job_{number}", 1),))
        for one in (reference, store):
            await grant(one, 2 * number, 2)
            await tick(one, effects=more)
        assert await tick(reference, ALL) == await tick(store, ALL)
        known = store._writer._known
        assert max(len(known.job_rows), len(known.device_rows), len(known.specs)) <= 3 + 1
    assert len((await tick(store, ALL)).leases) == 4, "of leases all are known"


async def test_a_job_that_ended_is_not_remembered(store: SqliteStore) -> None:
    await start(store)
    await grant(store, 0, 2)
    ended = await rev_up(store, "job_a", state=JobState.CANCELLED)
    await tick(store, ALL, Effects(jobs=(ended,), cancelled=(JobId("job_a"),)))
    known = store._writer._known
    assert not known.job_rows
    assert (await tick(store, ALL)).leases == {}
