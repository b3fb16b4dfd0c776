"""Write the dump of a file with the present schema: run it once, when a new migration is released.

python -m tests.migration.dump_released
"""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from dataclasses import replace
from pathlib import Path

from corpgrid.domain.device import Gpu
from corpgrid.domain.effects import AuditEntry, Checkpoint, Effects, Standing
from corpgrid.domain.ids import JobId
from corpgrid.domain.job import TaskState
from corpgrid.stores.sqlite.store import SqliteStore
from corpgrid.stores.statements import migrations
from tests.contracts.store_rows import (
    START,
    FakeClock,
    bring_back,
    device,
    hand_out,
    named,
    new_job,
    settings,
    tick,
)

RELEASED = Path(__file__).parent / "released"
JOB = JobId("job_a")


async def fill(path: Path) -> None:
    """One row of each kind at least."""
    store = await SqliteStore.open(path, settings(FakeClock()))
    on, other = device("dev_a"), device("dev_b", owner="bob")
    other = replace(other, facts=replace(other.facts, gpus=(Gpu(backend="cuda", name="H100"),)))
    new = new_job("job_a", 6)._replace(attachments=((named("page"), b"page"),))
    await tick(store, effects=Effects(devices=(on, other), new_jobs=(new,)))
    await hand_out(store, "job_a", [0, 1], on)
    await bring_back(store, "job_a", [0, 1], on)
    first = (await store.tasks(JOB, limit=1))[0]
    await tick(store, effects=Effects(tasks=(first._replace(state=TaskState.FINAL, final_rev=2),)))
    await hand_out(store, "job_a", [2], on)
    notes = Effects(
        standings=(Standing(on.id, named("bundle"), named("shape"), 2, 1),),
        checkpoints=(Checkpoint(JOB, 2, 0, 7, named("checkpoint"), START),),
        audit=(AuditEntry(START, "job.submitted", "job_a", "key_a"),),
    )
    await tick(store, effects=notes)
    await store.close()


def main() -> None:
    """Write ``released/NNNN.sql``."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "grid.db"
        asyncio.run(fill(path))
        connection = sqlite3.connect(path)
        dump = "\n".join(connection.iterdump())
        connection.close()
    RELEASED.mkdir(exist_ok=True)
    (RELEASED / f"{len(migrations('sqlite')):04}.sql").write_text(dump + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
