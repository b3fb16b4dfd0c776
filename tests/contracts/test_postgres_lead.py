"""Of many stores on one database one leads; whoever stood still while another did writes nothing as the leader."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator

import asyncpg
import pytest

from corpgrid.domain.effects import AuditEntry, Effects, View
from corpgrid.domain.job import JobState
from corpgrid.errors import MigrationError, StaleError, StoreError
from corpgrid.ports.store import Decide
from corpgrid.stores.postgres import lead as postgres_lead
from corpgrid.stores.postgres.database import Address
from corpgrid.stores.postgres.store import PostgresStore
from corpgrid.stores.postgres.writer import Writer
from tests.contracts.store_rows import FakeClock, named, need, new_job, rev_up, tick
from tests.postgres.fixtures import clock, dsn, new_dsn, open_store
from tests.postgres.server import server

__all__ = ["clock", "dsn"]

SWEEP = need(sweep=10)
NOTE = Effects(audit=(AuditEntry(1.0, "k", "s", "a"),))


@pytest.fixture
async def two(dsn: str, clock: FakeClock) -> AsyncIterator[tuple[PostgresStore, PostgresStore]]:
    stores = await open_store(dsn, clock), await open_store(dsn, clock)
    yield stores
    for store in stores:
        await store.close()


async def epoch(dsn: str) -> int:
    connection = await asyncpg.connect(dsn)
    try:
        return int(await connection.fetchval("SELECT epoch FROM lead"))
    finally:
        await connection.close()


async def swept(store: PostgresStore) -> View:
    """The view of a tick that sweeps; one that others overtook is tried again, as a scheduler does."""
    for _ in range(5):
        try:
            return await tick(store, SWEEP)
        except StaleError:
            continue
    raise AssertionError


async def until_leads(store: PostgresStore) -> None:
    async with asyncio.timeout(10.0):
        while not await store.lead():  # noqa: ASYNC110 - nothing else tells that the lead is free
            await asyncio.sleep(0.02)


@pytest.fixture
async def slept(
    two: tuple[PostgresStore, PostgresStore], monkeypatch: pytest.MonkeyPatch
) -> tuple[PostgresStore, PostgresStore]:
    """The first led, and was not heard of until the second led."""
    monkeypatch.setattr(postgres_lead, "SILENT_SECONDS", 0.2)
    assert await two[0].lead()
    await until_leads(two[1])
    return two


async def test_one_leads_and_keeps_the_lead(two: tuple[PostgresStore, PostgresStore], dsn: str) -> None:
    one, other = two
    for _ in range(3):
        assert await one.lead()
        assert not await other.lead()
    assert await epoch(dsn) == 1
    await one.upkeep()
    assert (await swept(one)).leads


async def test_of_many_that_ask_at_once_one_leads(dsn: str, clock: FakeClock) -> None:
    stores = [await open_store(dsn, clock) for _ in range(6)]
    assert sum(await asyncio.gather(*(store.lead() for store in stores))) == 1
    assert await epoch(dsn) == 1
    for store in stores:
        await store.close()


async def test_the_lead_is_free_as_soon_as_its_holder_has_gone(
    two: tuple[PostgresStore, PostgresStore], dsn: str
) -> None:
    one, other = two
    assert await one.lead()
    await one.close()
    await asyncio.wait_for(until_leads(other), 1.0)
    assert await epoch(dsn) == 2


async def test_grids_in_one_database_have_leaders_of_their_own(clock: FakeClock) -> None:
    stores = [await open_store(new_dsn(), clock) for _ in range(2)]
    assert [await store.lead() for store in stores] == [True, True]
    for store in stores:
        await store.close()


async def test_one_that_stood_still_writes_nothing_as_the_leader(
    slept: tuple[PostgresStore, PostgresStore], dsn: str
) -> None:
    one, other = slept
    assert await epoch(dsn) == 2
    assert not (await swept(one)).leads
    await swept(one)
    await tick(one, effects=Effects(new_jobs=(new_job("job_a", 1)._replace(attachments=((named("page"), b"page"),)),)))
    ended = await rev_up(one, "job_a", state=JobState.DONE, finished_at=1.0, unsettled=0)
    await tick(one, effects=Effects(jobs=(ended,)))
    for write in (one.upkeep(), one.collect(ended_before=2.0, now=3.0)):
        with pytest.raises(StaleError, match="another scheduler leads"):
            await write
    assert await one.attached(named("page"))
    connection = await asyncpg.connect(dsn)
    assert await connection.fetchval("SELECT count(*) FROM metrics_snapshot") == 0
    await connection.close()
    assert (await swept(other)).leads
    await other.upkeep()
    assert await other.collect(ended_before=2.0, now=3.0) == 1
    assert not await other.attached(named("page"))


async def test_one_that_stood_still_goes_on_with_everything_else(slept: tuple[PostgresStore, PostgresStore]) -> None:
    one, _ = slept
    assert (await tick(one, effects=NOTE)).leads, "only a sweep asks"
    assert len(await one.audit_log()) == 1


async def test_one_that_stood_still_finds_out_and_may_lead_again(
    slept: tuple[PostgresStore, PostgresStore], dsn: str
) -> None:
    one, other = slept
    with pytest.raises(StoreError):
        await one.lead()
    assert not await one.lead()
    await other.close()
    await until_leads(one)
    assert await epoch(dsn) == 3
    assert (await swept(one)).leads


async def test_nobody_takes_the_lead_in_the_middle_of_a_write_under_it(
    two: tuple[PostgresStore, PostgresStore], dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock is free, but not the epoch."""
    one, other = two
    deciding, decided = asyncio.Event(), asyncio.Event()

    async def decide_slowly(_: Writer, decide: Decide, view: View) -> Effects:
        deciding.set()
        await decided.wait()
        return decide(view)

    monkeypatch.setattr(Writer, "_decide", decide_slowly)
    assert await one.lead()
    sweeping = asyncio.create_task(tick(one, SWEEP, NOTE))
    await deciding.wait()
    await one._lead.close()
    taking = asyncio.create_task(other.lead())
    done, _ = await asyncio.wait([taking], timeout=0.3)
    assert not done
    assert await epoch(dsn) == 1
    decided.set()
    assert (await sweeping).leads
    assert await taking
    assert await epoch(dsn) == 2


async def test_one_that_stands_still_in_a_write_is_ended_soon(dsn: str) -> None:
    connection = await Address.of(dsn).connect()
    assert await connection.fetchval("SHOW idle_in_transaction_session_timeout") == "10s"
    await connection.close()


async def test_after_a_restart_of_the_server_somebody_leads(two: tuple[PostgresStore, PostgresStore], dsn: str) -> None:
    one, other = two
    assert await one.lead()
    server().restart(signal.SIGQUIT)
    with pytest.raises(StoreError):
        await one.lead()
    assert [await other.lead(), await one.lead()] == [True, False]
    assert await epoch(dsn) == 2


async def test_a_program_that_is_left_behind_is_told_while_it_runs(
    two: tuple[PostgresStore, PostgresStore], dsn: str
) -> None:
    one, other = two
    assert await one.lead()
    connection = await asyncpg.connect(dsn)
    await connection.execute("INSERT INTO schema_version (number, name, oldest_program) VALUES (99, 'contract', 99)")
    await connection.close()
    for store in (one, other):
        with pytest.raises(MigrationError, match="schema 99") as caught:
            await store.lead()
        assert "newer CorpGrid" in caught.value.remedy


async def test_the_first_secret_of_a_name_is_everybodys(two: tuple[PostgresStore, PostgresStore]) -> None:
    one, other = two
    found = await asyncio.gather(one.secret("audit", b"a" * 32), other.secret("audit", b"b" * 32))
    assert found[0] == found[1]
    assert await other.secret("audit", b"c" * 32) == found[0]
    assert await other.secret("another", b"d") == b"d"
