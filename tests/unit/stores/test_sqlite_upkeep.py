"""What the store does on its own: counting owners, noting how the grid stands, keeping the event loop free."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from corpgrid.domain.device import DeviceState
from corpgrid.domain.effects import Effects, View
from corpgrid.ports.store import Store
from corpgrid.stores.memory import MemoryStore
from corpgrid.stores.sqlite.store import METRICS_KEPT_SECONDS, METRICS_SECONDS, SqliteStore
from tests.contracts.store_rows import FakeClock, device, need, new_job, settings, tick


@pytest.fixture(params=["memory", "sqlite"])
async def remembering(request: pytest.FixtureRequest, path: Path, clock: FakeClock):
    """Stores that remember a count of the owners for a second."""
    told = settings(clock, owners_seconds=1.0)
    store: Store = MemoryStore(told) if request.param == "memory" else await SqliteStore.open(path, told)
    yield store
    await store.close()


async def test_owners_are_counted_anew_when_a_device_changes_or_a_second_passed(
    remembering: Store, clock: FakeClock
) -> None:
    on = device("dev_a")
    assert (await tick(remembering)).owners == {}
    await tick(remembering, effects=Effects(devices=(on,)))
    assert (await tick(remembering)).owners["ann"].active == 1
    for changed in (
        replace(on, trusted=True),
        replace(on, blockers=("battery",)),
        on,
        replace(on, state=DeviceState.DRAINING),
        on,
    ):
        await tick(remembering, need(devices=["dev_a"]), Effects(devices=(changed,)))
        counted = (await tick(remembering)).owners
        there = changed.state is DeviceState.ACTIVE and not changed.blockers
        assert bool(counted) == there
        assert not there or counted["ann"].trusted == changed.trusted
    seen = replace(on, last_seen=clock.time - 59.5)
    await tick(remembering, need(devices=["dev_a"]), Effects(devices=(seen,)))
    assert (await tick(remembering)).owners
    clock.time += 0.9
    assert (await tick(remembering)).owners, "the count is good for a second"
    clock.time += 0.2
    assert (await tick(remembering)).owners == {}


async def test_once_a_minute_the_store_notes_how_the_grid_stands(
    store: SqliteStore, path: Path, clock: FakeClock
) -> None:
    def snapshots() -> Sequence[tuple[float, int, int, int]]:
        connection = sqlite3.connect(path)
        found = connection.execute("SELECT at, devices_present, jobs_running, tasks_ready FROM metrics_snapshot")
        rows = found.fetchall()
        connection.close()
        return rows

    first = clock.time
    await tick(store, effects=Effects(devices=(device("dev_a"),), new_jobs=(new_job("job_a", 3),)))
    assert snapshots() == [(first, 1, 1, 3)]
    clock.time += METRICS_SECONDS / 2
    await tick(store, effects=Effects(new_jobs=(new_job("job_b", 2),)))
    assert len(snapshots()) == 1
    clock.time = first + METRICS_SECONDS
    await tick(store)
    assert snapshots()[1:] == [(first + METRICS_SECONDS, 1, 2, 5)]
    clock.time = first + METRICS_SECONDS + METRICS_KEPT_SECONDS - 1.0
    await tick(store)
    assert [row[0] for row in snapshots()] == [first + METRICS_SECONDS, clock.time]


async def test_a_decision_runs_in_the_writers_thread_and_ticks_come_one_after_the_other(store: SqliteStore) -> None:
    running, order = threading.Lock(), []

    def decide(view: View) -> Effects:
        assert running.acquire(blocking=False), "two ticks at once"
        order.append((threading.current_thread().name, view.next_epoch))
        running.release()
        return Effects()

    await asyncio.gather(*(store.transact(need(), decide) for _ in range(20)))
    assert {name for name, _ in order} == {"corpgrid-store-writer_0"}
    assert threading.current_thread().name not in {name for name, _ in order}


async def test_a_long_read_delays_no_tick(store: SqliteStore) -> None:
    await tick(store, effects=Effects(new_jobs=(new_job("job_a", 5),)))
    entered, leave = threading.Event(), threading.Event()

    def slow(*_: object) -> None:
        entered.set()
        assert leave.wait(10.0)

    reading = asyncio.get_running_loop().run_in_executor(store._reading, slow)
    await asyncio.to_thread(entered.wait, 10.0)
    await asyncio.wait_for(tick(store, need(ready=5)), 10.0)
    leave.set()
    await reading


async def test_a_million_tasks_are_submitted_by_one_statement(store: SqliteStore) -> None:
    await tick(store, effects=Effects(new_jobs=(new_job("job_a", 1_000_000),)))
    view = await tick(store, need(ready=3))
    assert [index for _, index in view.ready] == [0, 1, 2]
    last = await store.tasks(view.ready[0][0], after=999_997)
    assert [row.index for row in last] == [999_998, 999_999]
