"""What becomes of a tick when the database, the connection or another scheduler gets in its way."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import replace
from unittest.mock import patch

import asyncpg
import pytest

from corpgrid.domain.device import DeviceState, Gpu
from corpgrid.domain.effects import AuditEntry, Effects, View
from corpgrid.domain.hints import Hint
from corpgrid.domain.ids import DeviceId, JobId
from corpgrid.domain.job import TaskState
from corpgrid.errors import StaleError, StoreError
from corpgrid.ports.store import Decide
from corpgrid.stores.postgres import database as postgres_database
from corpgrid.stores.postgres.database import Session
from corpgrid.stores.postgres.store import PostgresStore
from corpgrid.stores.postgres.writer import Writer
from tests.contracts.store_rows import (
    FakeClock,
    bring_back,
    device,
    hand_out,
    key,
    lease,
    need,
    new_job,
    rev_up,
    settings,
    task,
    tick,
)
from tests.postgres.fixtures import clock, dsn, open_store, store
from tests.postgres.server import server

__all__ = ["clock", "dsn", "store"]

JOB = JobId("job_a")


@pytest.fixture(autouse=True)
def deciding_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here other ticks go on while one is being decided."""

    async def decide_elsewhere(_: Writer, decide: Decide, view: View) -> Effects:
        return await asyncio.to_thread(decide, view)

    monkeypatch.setattr(Writer, "_decide", decide_elsewhere)


@pytest.fixture
async def other(dsn: str, store: PostgresStore, clock: FakeClock):
    other = await open_store(dsn, clock)
    yield other
    await other.close()


async def cut(store: PostgresStore) -> None:
    """End the connection on which the store ticks, from the server's side."""
    async with store._pools[0].acquire() as connection:
        pid = connection.get_server_pid()
    server().sql(f"SELECT pg_terminate_backend({pid}, 5000)")


async def test_a_tick_that_loses_its_connection_is_undone_and_the_next_has_another(store: PostgresStore) -> None:
    await tick(store, effects=Effects(new_jobs=(new_job("job_a", 3),)))
    (pool, *_) = store._pools

    def decide(_: View) -> Effects:
        server().sql("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE state = 'idle in transaction'")
        return Effects(tasks=(task("job_a", 0, open=0),))

    with pytest.raises(StoreError, match="connection to the store failed"):
        await store.transact(need(jobs=["job_a"]), decide)
    assert (await store.tasks(JOB))[0] == task("job_a", 0)
    await tick(store, effects=Effects(tasks=(task("job_a", 0, open=0),)))
    assert (await store.tasks(JOB))[0] == task("job_a", 0, open=0)
    assert pool.get_size() == 1


@pytest.mark.parametrize("made", [True, False])
async def test_a_connection_lost_in_the_commit_leaves_no_doubt(store: PostgresStore, *, made: bool) -> None:
    await tick(store, effects=Effects(new_jobs=(new_job("job_a", 3),)))
    commit = Session.commit

    async def commit_and_lose(session: Session) -> None:
        if made:
            await commit(session)
        session.connection.terminate()
        raise StoreError("the connection was lost")

    wanted = Effects(tasks=(task("job_a", 0, open=0),))
    with patch.object(Session, "commit", commit_and_lose):
        if made:
            await tick(store, need(jobs=["job_a"]), wanted)
        else:
            with pytest.raises(StoreError, match="was lost"):
                await tick(store, need(jobs=["job_a"]), wanted)
    assert ((await store.tasks(JOB))[0].open == 0) is made
    await tick(store, effects=wanted)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT])
async def test_what_was_acknowledged_outlives_the_server(store: PostgresStore, how: signal.Signals) -> None:
    await tick(store, effects=Effects(new_jobs=(new_job("job_a", 3),)))
    server().stop(how)
    with pytest.raises(StoreError) as caught:
        await tick(store)
    assert "server" in caught.value.remedy
    with pytest.raises(StoreError):
        await store.jobs()
    server().restart()
    assert (await store.job(JOB)) == new_job("job_a", 3).job
    await tick(store, effects=Effects(jobs=(await rev_up(store, "job_a"),)))


async def test_a_lock_that_is_not_had_in_time_makes_the_tick_stale(store: PostgresStore, dsn: str) -> None:
    await tick(store, effects=Effects(new_jobs=(new_job("job_a", 3),)))
    connection = await asyncpg.connect(dsn)
    async with connection.transaction():
        await connection.execute("SELECT FROM jobs FOR UPDATE")
        await store._pools[0].execute("SET lock_timeout = '50ms'")
        with pytest.raises(StaleError):
            await tick(store, need(jobs=["job_a"]))
        with pytest.raises(StaleError):
            await tick(store, effects=Effects(tasks=(task("job_a", 0),)))
        assert (await tick(store, need(ready=9, sweep=9))).ready == (), "work of a busy job is passed over"
    await connection.close()
    assert len((await tick(store, need(ready=9))).ready) == 3


async def test_a_busy_job_hides_no_other(store: PostgresStore, dsn: str) -> None:
    jobs = tuple(new_job(name, 2, priority=priority) for name, priority in (("job_a", 90), ("job_b", 50)))
    await tick(store, effects=Effects(new_jobs=jobs))
    connection = await asyncpg.connect(dsn)
    async with connection.transaction():
        await connection.execute("SELECT FROM jobs WHERE id = 'job_a' FOR UPDATE")
        assert (await tick(store, need(ready=1))).ready == (key("job_b", 0),)
    await connection.close()
    assert (await tick(store, need(ready=1))).ready == (key("job_a", 0),)


async def test_only_jobs_that_give_work_are_locked(store: PostgresStore, other: PostgresStore) -> None:
    jobs = tuple(new_job(f"job_{name}", 5, created_at=float(ord(name))) for name in "abcd")
    await tick(store, effects=Effects(new_jobs=jobs))
    ready = []

    def decide(view: View) -> Effects:
        found = asyncio.run_coroutine_threadsafe(tick(other, need(ready=5)), loop).result(10)
        ready.extend([view.ready, found.ready])
        return Effects()

    loop = asyncio.get_running_loop()
    await store.transact(need(ready=10), decide)
    mine, theirs = ({job for job, _ in keys} for keys in ready)
    assert (mine, theirs) == ({"job_a", "job_b"}, {"job_c"})


async def test_a_device_that_was_only_looked_at_and_changed_makes_the_tick_stale(
    store: PostgresStore, other: PostgresStore
) -> None:
    on = device("dev_a")
    await tick(store, effects=Effects(devices=(on,), new_jobs=(new_job("job_a", 3),)))
    await hand_out(store, "job_a", [0], on)
    (row, *_) = await store.tasks(JOB)
    await tick(store, effects=Effects(tasks=(row._replace(state=TaskState.READY, open=1),)))
    loop = asyncio.get_running_loop()
    mine, theirs = replace(on, reason="mine"), replace(on, reason="theirs")

    def decide(view: View) -> Effects:
        assert view.devices == {on.id: on}, "the one that tried a ready task"
        asyncio.run_coroutine_threadsafe(tick(other, effects=Effects(devices=(theirs,))), loop).result(10)
        return Effects(devices=(mine,))

    with pytest.raises(StaleError, match="changed in between"):
        await store.transact(need(ready=5), decide)
    assert await store.device(on.id) == theirs
    await tick(store, need(ready=5), Effects(devices=(mine,)))
    assert await store.device(on.id) == mine


async def test_two_who_add_the_same_device_or_job_do_so_once(store: PostgresStore, other: PostgresStore) -> None:
    loop = asyncio.get_running_loop()
    wanted = need(devices=["dev_a"], jobs=["job_a"])

    for effects in (Effects(devices=(device("dev_a"),)), Effects(new_jobs=(new_job("job_a", 1),))):

        def decide(view: View, effects: Effects = effects) -> Effects:
            if not view.devices or (effects.new_jobs and not view.jobs):
                asyncio.run_coroutine_threadsafe(tick(other, effects=effects), loop).result(10)
                return effects
            return Effects()

        with pytest.raises(StaleError):
            await store.transact(wanted, decide)
        await store.transact(wanted, decide)
    assert len(await store.devices()) == len(await store.jobs()) == 1


async def test_a_lease_that_comes_in_between_makes_the_tick_stale(store: PostgresStore, other: PostgresStore) -> None:
    on = device("dev_a")
    await tick(store, effects=Effects(devices=(on,), new_jobs=(new_job("job_a", 3),)))
    rows = Session.rows

    async def rows_and_lease(session: Session, name: str, *values: object):
        found = await rows(session, name, *values)
        if name == "lock_jobs":
            given = lease(99, on=on, job="job_a", until=2e9, remaining=1)
            with patch.object(Session, "rows", rows):
                await tick(other, effects=Effects(leases=(given,)))
        return found

    with patch.object(Session, "rows", rows_and_lease), pytest.raises(StaleError, match="lease in between"):
        await tick(store, need(devices=["dev_a"]))
    assert set((await tick(store, need(devices=["dev_a"]))).leases) == {99}


async def test_epochs_rise_from_tick_to_tick_whoever_ticks(store: PostgresStore, other: PostgresStore) -> None:
    on = device("dev_a")
    await tick(store, effects=Effects(devices=(on,), new_jobs=(new_job("job_a", 9),)))
    epochs, batches = [], []
    for index, each in enumerate((store, store, other, store, other, other)):
        epochs.append(await hand_out(each, "job_a", [index], on))
        batches.append(await bring_back(each, "job_a", [index], on))
    assert epochs == sorted(set(epochs))
    assert batches == sorted(set(batches))


async def test_the_time_is_the_databases(dsn: str, clock: FakeClock) -> None:
    clock.time = 5.0
    store = await PostgresStore.open(dsn, settings(clock))
    before = (await tick(store)).now
    assert 1.5e9 < before <= (await tick(store, effects=Effects(new_jobs=(new_job("job_a", 1),)))).now
    assert await store.last_seen() >= before
    await store.close()


async def test_a_strangers_text_may_hold_anything(store: PostgresStore) -> None:
    text = "\0 \ue000 \ue0000 \ue0001 \u2603 \\ '"
    gpu = Gpu(backend="cuda", name=text, uuid=text)
    on = device("dev_a", owner=text)
    on = replace(on, name=text, reason=text, facts=replace(on.facts, labels=(text,), gpus=(gpu,)))
    new = new_job("job_a", 1)
    entry = AuditEntry(1.0, text, text, text, text)
    await tick(store, effects=Effects(devices=(on,), new_jobs=(new,), audit=(entry,)))
    await hand_out(store, "job_a", [0], on)
    (attempt,) = await store.attempts(JOB, 0)
    (row,) = await store.tasks(JOB)
    job = await rev_up(store, "job_a", reason=text)
    changed = Effects(attempts=(attempt._replace(reason=text),), tasks=(row._replace(reason=text),), jobs=(job,))
    await tick(store, effects=changed)
    assert await store.device(on.id) == on
    assert await store.job(JOB) == job
    assert await store.attempts(JOB, 0) == list(changed.attempts)
    assert await store.tasks(JOB) == list(changed.tasks)
    assert [line for _, line in await store.audit_log(subject=text)] == [entry]
    view = await tick(store, need(tasks=[key("job_a", 0)]))
    assert view.devices == {on.id: on}
    assert view.owners == {text: (1, 0)}
    assert await store.job(JobId("\0")) is None


@pytest.mark.parametrize("bad", ["\ud800", 1 << 63])
async def test_a_value_that_cannot_be_stored_is_refused(store: PostgresStore, bad: object) -> None:
    await tick(store, effects=Effects(new_jobs=(new_job("job_a", 1),)))
    row = task("job_a", 0, **{"reason" if isinstance(bad, str) else "final_rev": bad})
    with pytest.raises(StoreError, match="cannot be stored"):
        await tick(store, effects=Effects(tasks=(row,)))
    with pytest.raises(StoreError, match="not in the store"):
        await tick(store, effects=Effects(tasks=(task("job_a", 7),)))


async def test_others_are_told_what_changed(store: PostgresStore, other: PostgresStore) -> None:
    heard: asyncio.Queue[Hint] = asyncio.Queue()
    other.listen(heard.put_nowait)
    store.listen(lambda hint: heard.put_nowait(hint) if hint != Hint(work=True) else None)

    async def hear(wanted: Hint) -> None:
        async with asyncio.timeout(10):
            while await heard.get() != wanted:
                pass

    await hear(Hint(work=True))
    on = device("dev_a")
    await tick(store, effects=Effects(devices=(on,)))
    await hear(Hint(devices=frozenset({on.id})))
    await tick(store, effects=Effects(new_jobs=(new_job("job_a", 1),)))
    await hear(Hint(work=True))
    ended = task("job_a", 0, state=TaskState.FAILED, open=0, final_rev=2)
    await tick(store, effects=Effects(tasks=(ended,)))
    await hear(Hint(ended=frozenset({JOB})))
    barred = [device(f"dev_{number}") for number in range(500)]
    await tick(store, effects=Effects(devices=tuple(replace(row, state=DeviceState.REVOKED) for row in barred)))
    told: set[DeviceId] = set()
    async with asyncio.timeout(10):
        while len(told) < len(barred):
            told |= (await heard.get()).devices
    assert heard.empty(), "a store heard itself"


async def test_a_tick_that_is_cancelled_is_undone(store: PostgresStore) -> None:
    await tick(store, effects=Effects(new_jobs=(new_job("job_a", 1),)))
    started, go = asyncio.Event(), asyncio.Event()
    write = Session.write

    async def slow(session: Session, parts: object) -> int:
        number = await write(session, parts)
        started.set()
        await go.wait()
        return number

    with patch.object(Session, "write", slow):
        ticking = asyncio.create_task(tick(store, effects=Effects(tasks=(task("job_a", 0, open=0),))))
        await started.wait()
        ticking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await ticking
    assert await store.tasks(JOB) == [task("job_a", 0)]
    await tick(store, effects=Effects(tasks=(task("job_a", 0, open=0),)))


async def test_a_server_that_falls_silent_is_given_up(dsn: str, clock: FakeClock) -> None:
    with patch.multiple(postgres_database, COMMAND_SECONDS=0.5, UNDO_SECONDS=0.5):
        store = await open_store(dsn, clock)
        async with store._pools[0].acquire() as connection:
            pid = connection.get_server_pid()
        os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(StoreError, match="did not answer in time"):
                await tick(store)
            await tick(store, effects=Effects(new_jobs=(new_job("job_a", 1),)))
        finally:
            os.kill(pid, signal.SIGCONT)
    assert len(await store.jobs()) == 1
    await store.close()


async def test_what_touches_all_tasks_of_a_job_may_take_its_time(store: PostgresStore, dsn: str) -> None:
    unlike = tuple(task("job_a", index)._replace(failures=index) for index in range(5))
    await tick(store, effects=Effects(new_jobs=(new_job("job_a", 5),)))
    await tick(store, effects=Effects(tasks=unlike))
    await store._pools[0].execute("SET statement_timeout = '250ms'")
    slow = "CREATE FUNCTION slow() RETURNS trigger AS 'BEGIN PERFORM pg_sleep(0.1); RETURN NEW; END' LANGUAGE plpgsql"
    connection = await asyncpg.connect(dsn)
    await connection.execute(slow)
    for table in ("job_shards", "jobs"):
        when = f"BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION slow()"
        await connection.execute(f"CREATE TRIGGER slow {when}")
    await connection.close()
    await tick(store, effects=Effects(jobs=(await rev_up(store, "job_a"),), cancelled=(JOB,)))
    assert {row.state for row in await store.tasks(JOB)} == {TaskState.CANCELLED}
    with pytest.raises(StoreError, match="took too long"):
        await tick(store, effects=Effects(tasks=unlike))


async def test_metrics_are_noted_once_a_minute(store: PostgresStore, clock: FakeClock) -> None:
    assert await store.lead()
    for seconds in (0.0, 30.0, 31.0, 90.0):
        clock.time += seconds
        await store.upkeep()
    async with store._pools[1].acquire() as connection:
        assert await connection.fetchval("SELECT count(*) FROM metrics_snapshot") == 3
    clock.time += 31 * 86_400.0
    await tick(store)
    await store.upkeep()
    async with store._pools[1].acquire() as connection:
        assert await connection.fetchval("SELECT count(*) FROM metrics_snapshot") == 1
        assert await connection.fetchval("SELECT count(*) FROM schedulers") == 1, "it has just ticked"
