"""Where a scheduler's tick spends its time, a task: reading rows, deciding, writing rows; alone, on either store.

Two devices bring 512 results and take 512 tasks in each tick, without wire, agents or runners.

    .venv/bin/python benchmarks/ticks.py [TASKS] [--wanted 512] [--dsn postgresql://user@host/database]

With ``--dsn`` the rows are in a schema of their own in that database, which is dropped at the end.  Every figure is
microseconds a result, of wall time and (``client_cpu``, and ``server_cpu`` where the server runs on this machine) of
processor time, which says more where others are at work beside.  ``wal_bytes`` is what the server logs for a result.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import random
import secrets
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from corpgrid.domain import grid
from corpgrid.domain.device import Facts, PowerStatus
from corpgrid.domain.effects import Effects, View
from corpgrid.domain.events import DeviceRegistered, JobSubmitted, Polled
from corpgrid.domain.ids import DeviceId, Digest, JobId, KeyId
from corpgrid.domain.job import Arguments, JobSpec, JobState
from corpgrid.domain.messages import AgentStatus, Batch, Grant, Item, Outcome, PollReply, RegisterRequest
from corpgrid.host.clock import SystemClock
from corpgrid.ports.store import Store
from corpgrid.stores.settings import StoreSettings
from corpgrid.stores.sqlite import store as sqlite
from corpgrid.wire.convert import batch_blobs, encode_batch, item_payload

JOB = JobId("job_bench")


class Spent:
    """Where the time went, by the names of phases: wall time, and processor time on either side.

    Attributes:
        servers: processes of the database server that work for the store.
        seconds: by kind of time and phase.
    """

    def __init__(self) -> None:
        self.servers: list[int] = []
        self.seconds: Counter[tuple[str, str]] = Counter()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count what is done inside."""
        started = self._now()
        try:
            yield
        finally:
            for kind, moment in self._now().items():
                self.seconds[kind, name] += moment - started[kind]

    def _now(self) -> dict[str, float]:
        served = sum(map(_served_seconds, self.servers))
        return {"wall": time.perf_counter(), "client_cpu": time.process_time(), "server_cpu": served}

    def by_kind(self, results: int) -> dict[str, dict[str, float]]:
        """Microseconds a result."""
        found: dict[str, dict[str, float]] = {}
        for (kind, name), seconds in sorted(self.seconds.items(), reverse=True):
            if kind != "server_cpu" or self.servers:
                found.setdefault(kind, {})[name] = round(1e6 * seconds / results, 1)
        return found


SPENT = Spent()


def timed(name: str, function: Any) -> Any:
    """The function, with its time added to ``SPENT``."""

    def call(*args: Any, **kwargs: Any) -> Any:
        with SPENT.phase(name):
            return function(*args, **kwargs)

    return call


def timed_coroutine(name: str, function: Any) -> Any:
    """``timed`` for what is awaited."""

    async def call(*args: Any, **kwargs: Any) -> Any:
        with SPENT.phase(name):
            return await function(*args, **kwargs)

    return call


def _served_seconds(pid: int) -> float:
    """Processor time of a process; 0 where it is not one of this machine."""
    path = Path(f"/proc/{pid}/schedstat")
    return int(path.read_text().split()[0]) / 1e9 if path.exists() else 0.0


def results(device: DeviceId, grants: tuple[Grant, ...]) -> tuple[Batch, ...]:
    """One result for each granted task, as a verified batch."""
    done = Outcome.RESULT
    items = tuple(
        Item(task.index, task.attempt, grant.epoch, done, payload=b"1") for grant in grants for task in grant.tasks
    )
    batch = encode_batch(Batch(JOB, device, items, b"s" * 64))
    return (batch._replace(digests=(Digest(b"d" * 32),) * len(items)),) if items else ()


@asynccontextmanager
async def on_sqlite(settings: StoreSettings) -> AsyncIterator[tuple[Store, Any]]:
    """An empty store."""
    with tempfile.TemporaryDirectory() as folder:
        store = await sqlite.SqliteStore.open(Path(folder) / "grid.db", settings)
        yield store, None
        await store.close()


@asynccontextmanager
async def on_postgres(settings: StoreSettings, dsn: str) -> AsyncIterator[tuple[Store, Any]]:
    """An empty store, and a connection beside it."""
    import asyncpg  # noqa: PLC0415 - it comes with the extra `postgres`

    from corpgrid.stores.postgres.store import PostgresStore  # noqa: PLC0415 - as above

    schema = f"bench_{secrets.token_hex(4)}"
    connection = await asyncpg.connect(dsn)
    await connection.execute(f"CREATE SCHEMA {schema}")
    try:
        postgres = await PostgresStore.open(f"{dsn}{'&' if '?' in dsn else '?'}search_path={schema}", settings)
        yield postgres, connection
        await postgres.close()
    finally:
        await connection.execute(f"SET client_min_messages = error; DROP SCHEMA {schema} CASCADE")
        await connection.close()


async def run(dsn: str, tasks: int, wanted: int) -> dict[str, Any]:
    """One job from its submission to its end."""
    settings = StoreSettings(clock=SystemClock(), item_payload=item_payload, batch_blobs=batch_blobs)
    async with on_postgres(settings, dsn) if dsn else on_sqlite(settings) as (store, beside):
        return await measure(store, beside, tasks, wanted)


async def measure(store: Store, beside: Any, tasks: int, wanted: int) -> dict[str, Any]:
    """The same on an open store, with a connection beside it where there can be one."""
    rules = grid.GridRules(audit_key=b"k" * 32, agree=lambda *_: False)
    rng = random.Random(1)

    async def tick(event: Any) -> Effects:
        def decide(view: View) -> Effects:
            return grid.decide(view, [event], rng=rng, rules=rules)

        return await store.transact(grid.need([event], rules), timed("decide", decide))

    facts = Facts(python="3.11", memory_bytes=1 << 34, disk_free_bytes=1 << 40)
    devices = [DeviceId("dev_one"), DeviceId("dev_two")]
    for device in devices:
        request = RegisterRequest(
            public_key=b"k" * 32, owner=device, site="s", name=device, facts=facts, power=PowerStatus(),
            boot="b", signed_at=0.0, capacity=1,
        )  # fmt: skip
        await tick(DeviceRegistered(ticket=1, device=device, request=request, session=b"s" * 32, trusted=False))
    arguments = Arguments(tasks=tasks, page_tasks=1024, pages=Digest(b"p" * 32))
    spec = JobSpec(name="bench", bundle=Digest(b"b" * 32), arguments=arguments, not_after=4e9, nonce="n" * 16)
    submitted = JobSubmitted(ticket=1, job=JOB, spec=spec, envelope=b"e", submitter=KeyId("k"))
    SPENT.servers = await servers(beside)
    with SPENT.phase("submit"):
        await tick(submitted)
    submit = {kind: seconds for (kind, name), seconds in SPENT.seconds.items() if name == "submit"}
    SPENT.seconds.clear()
    held: dict[DeviceId, tuple[Grant, ...]] = dict.fromkeys(devices, ())
    ticks, done, logged = 0, 0, await wal(beside)
    with SPENT.phase("all"):
        while (row := await store.job(JOB)) is not None and row.state is JobState.RUNNING:
            device, ticks = devices[ticks % 2], ticks + 1
            epochs = tuple(grant.epoch for grant in held[device])
            status = AgentStatus(device=device, session="s", power=PowerStatus(), held=epochs)
            with SPENT.phase("bench"):
                batches = results(device, held[device])
            done += sum(len(batch.items) for batch in batches)
            poll = Polled(ticket=1, status=status, wanted=wanted, known_jobs=frozenset(), batches=batches, due=True)
            reply = (await tick(poll)).replies[1]
            assert isinstance(reply, PollReply)
            held[device] = reply.grants
    SPENT.seconds.update({(kind, "submit"): seconds for kind, seconds in submit.items()})
    found: dict[str, Any] = {"results": done, "ticks": ticks, **SPENT.by_kind(done)}
    return found | ({"wal_bytes": round((await wal(beside) - logged) / done)} if beside is not None else {})


async def wal(beside: Any) -> int:
    """How much the server has logged."""
    return int(await beside.fetchval("SELECT pg_current_wal_lsn() - '0/0'")) if beside is not None else 0


async def servers(beside: Any) -> list[int]:
    """Processes that work for the store, on this machine."""
    if beside is None:
        return []
    rows = await beside.fetch("SELECT pid FROM pg_stat_activity WHERE application_name = 'corpgrid'")
    return [pid for (pid,) in rows if _served_seconds(pid)]


def main() -> None:
    """Measure with the cycle collector on, then off."""
    parser = argparse.ArgumentParser()
    parser.add_argument("tasks", nargs="?", type=int, default=20_000)
    parser.add_argument("--wanted", type=int, default=512, help="tasks that a device takes at once")
    parser.add_argument("--dsn", default="")
    chosen = parser.parse_args()
    if chosen.dsn:
        from corpgrid.stores.postgres import writer  # noqa: PLC0415 - its driver may be absent

        writer.load, writer.commit = timed_coroutine("read", writer.load), timed_coroutine("write", writer.commit)
        writer.Session.commit = timed_coroutine("commit", writer.Session.commit)  # type: ignore[method-assign]
    else:
        sqlite.load, sqlite.commit = timed("read", sqlite.load), timed("write", sqlite.commit)
    for collector in ("on", "off"):
        if collector == "off":
            gc.disable()
        SPENT.seconds.clear()
        measured = asyncio.run(run(chosen.dsn, chosen.tasks, chosen.wanted))
        print(json.dumps({"collector": collector, **measured, "load_average": round(os.getloadavg()[0], 2)}))


if __name__ == "__main__":
    main()
