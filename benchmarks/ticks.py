"""Where a scheduler's tick spends its time, a task: reading rows, deciding, writing rows; alone, on either store.

Two devices bring 512 results and take 512 tasks in each tick, without wire, agents or runners.

    .venv/bin/python benchmarks/ticks.py [TASKS] [--dsn postgresql://user@host/database]

With ``--dsn`` the rows are in a schema of their own in that database, which is dropped at the end.
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
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
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
from corpgrid.stores import sqlite
from corpgrid.stores.settings import StoreSettings
from corpgrid.wire.convert import batch_blobs, encode_batch, item_payload

SPENT: Counter[str] = Counter()
JOB = JobId("job_bench")


def timed(name: str, function: Any) -> Any:
    """The function, with its seconds added to ``SPENT``."""

    def call(*args: Any, **kwargs: Any) -> Any:
        started = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            SPENT[name] += time.perf_counter() - started

    return call


def results(device: DeviceId, grants: tuple[Grant, ...]) -> tuple[Batch, ...]:
    """One result for each granted task, as a verified batch."""
    done = Outcome.RESULT
    items = tuple(
        Item(task.index, task.attempt, grant.epoch, done, payload=b"1") for grant in grants for task in grant.tasks
    )
    batch = encode_batch(Batch(JOB, device, items, b"s" * 64))
    return (batch._replace(digests=(Digest(b"d" * 32),) * len(items)),) if items else ()


def timed_coroutine(name: str, function: Any) -> Any:
    """``timed`` for what is awaited."""

    async def call(*args: Any, **kwargs: Any) -> Any:
        started = time.perf_counter()
        try:
            return await function(*args, **kwargs)
        finally:
            SPENT[name] += time.perf_counter() - started

    return call


@asynccontextmanager
async def opened(dsn: str) -> AsyncIterator[Store]:
    """An empty store."""
    settings = StoreSettings(clock=SystemClock(), item_payload=item_payload, batch_blobs=batch_blobs)
    if not dsn:
        with tempfile.TemporaryDirectory() as folder:
            store = await sqlite.SqliteStore.open(Path(folder) / "grid.db", settings)
            yield store
            await store.close()
        return
    import asyncpg  # noqa: PLC0415 - it comes with the extra `postgres`

    from corpgrid.stores.postgres.store import PostgresStore  # noqa: PLC0415 - as above

    schema = f"bench_{secrets.token_hex(4)}"
    connection = await asyncpg.connect(dsn)
    await connection.execute(f"CREATE SCHEMA {schema}")
    try:
        postgres = await PostgresStore.open(f"{dsn}{'&' if '?' in dsn else '?'}search_path={schema}", settings)
        yield postgres
        await postgres.close()
    finally:
        await connection.execute(f"SET client_min_messages = error; DROP SCHEMA {schema} CASCADE")
        await connection.close()


async def run(dsn: str, tasks: int) -> dict[str, Any]:
    """One job from its submission to its end; microseconds a result."""
    async with opened(dsn) as store:
        return await measure(store, tasks)


async def measure(store: Store, tasks: int) -> dict[str, Any]:
    """The same on an open store."""
    rules = grid.GridRules(audit_key=b"k" * 32, agree=lambda *_: False)
    rng = random.Random(1)

    async def tick(event: Any) -> Effects:
        def decide(view: View) -> Effects:
            return grid.decide(view, [event], rng=rng, rules=rules)

        return await store.transact(grid.need([event], rules), timed("decide_us", decide))

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
    await tick(JobSubmitted(ticket=1, job=JOB, spec=spec, envelope=b"e", submitter=KeyId("k")))
    SPENT.clear()
    held: dict[DeviceId, tuple[Grant, ...]] = dict.fromkeys(devices, ())
    ticks, done, started = 0, 0, time.perf_counter()
    while (row := await store.job(JOB)) is not None and row.state is JobState.RUNNING:
        device, ticks = devices[ticks % 2], ticks + 1
        epochs = tuple(grant.epoch for grant in held[device])
        status = AgentStatus(device=device, session="s", power=PowerStatus(), held=epochs)
        batches = results(device, held[device])
        done += sum(len(batch.items) for batch in batches)
        poll = Polled(ticket=1, status=status, wanted=512, known_jobs=frozenset(), batches=batches, due=True)
        reply = (await tick(poll)).replies[1]
        assert isinstance(reply, PollReply)
        held[device] = reply.grants
    seconds = time.perf_counter() - started
    spent = {name: round(1e6 * value / done, 1) for name, value in sorted(SPENT.items())}
    return {"results": done, "ticks": ticks, "all_us": round(1e6 * seconds / done, 1), **spent}


def main() -> None:
    """Measure with the cycle collector on, then off."""
    parser = argparse.ArgumentParser()
    parser.add_argument("tasks", nargs="?", type=int, default=20_000)
    parser.add_argument("--dsn", default="")
    chosen = parser.parse_args()
    if chosen.dsn:
        from corpgrid.stores.postgres import writer  # noqa: PLC0415 - its driver may be absent

        writer.load, writer.commit = timed_coroutine("read_us", writer.load), timed_coroutine("write_us", writer.commit)
        writer.Session.commit = timed_coroutine("commit_us", writer.Session.commit)  # type: ignore[method-assign]
    else:
        sqlite.load, sqlite.commit = timed("read_us", sqlite.load), timed("write_us", sqlite.commit)
    for collector in ("on", "off"):
        if collector == "off":
            gc.disable()
        measured = asyncio.run(run(chosen.dsn, chosen.tasks))
        print(json.dumps({"collector": collector, **measured, "load_average": round(os.getloadavg()[0], 2)}))


if __name__ == "__main__":
    main()
