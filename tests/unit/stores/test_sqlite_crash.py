"""A process that is killed loses nothing that it had acknowledged."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from corpgrid.domain.ids import JobId
from corpgrid.domain.job import TaskState
from corpgrid.stores.sqlite.store import SqliteStore
from tests.contracts.store_rows import FakeClock, settings, tick

WRITER = """
import asyncio, sys
from pathlib import Path
from corpgrid.domain.effects import Effects
from corpgrid.stores.sqlite.store import SqliteStore
from tests.contracts.store_rows import FakeClock, bring_back, device, hand_out, new_job, settings, tick

async def main():
    store = await SqliteStore.open(Path(sys.argv[1]), settings(FakeClock()))
    on, start = device("dev_a"), int(sys.argv[2])
    if start == 0:
        await tick(store, effects=Effects(devices=(on,), new_jobs=(new_job("job_a", 1_000),)))
    for first in range(start, 1_000, 5):
        indexes = range(first, first + 5)
        await hand_out(store, "job_a", indexes, on)
        print("leased", first, flush=True)
        await bring_back(store, "job_a", indexes, on)
        print("returned", first, flush=True)

asyncio.run(main())
"""


@pytest.mark.parametrize("seed", range(3))
async def test_kill_9_in_the_middle_of_commits(path: Path, clock: FakeClock, seed: int) -> None:
    rng = random.Random(seed)
    start = 0
    for _ in range(2):
        lines = run_and_kill(path, start, after_lines=rng.randrange(1, 60))
        store = await SqliteStore.open(path, settings(clock))
        tasks = await store.tasks(JobId("job_a"), limit=1_000)
        batches = {row.task.index: row.batch for row in await store.provisional(JobId("job_a"), limit=1_000)}
        contents = await store.batches(sorted(set(batches.values())))
        for line in lines:
            what, first = line.split()
            for row in tasks[int(first) : int(first) + 5]:
                assert row.attempts == 1, line
                if what == "returned":
                    assert row.state is TaskState.PROVISIONAL, line
                    assert contents[batches[row.index]]
        view = await tick(store)
        assert view.next_batch == max(contents, default=0) + 1
        assert view.next_epoch > view.next_batch - 1
        start = next(row.index for row in tasks if row.attempts == 0) if lines else start
        start += -start % 5
        await store.close()


def run_and_kill(path: Path, start: int, *, after_lines: int) -> list[str]:
    """What a writer acknowledged before it was killed, at any moment after so many lines."""
    command = [sys.executable, "-c", WRITER, str(path), str(start)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(after_lines)]
        process.send_signal(signal.SIGKILL)
        lines += process.stdout.readlines()
    assert process.returncode == -signal.SIGKILL
    return [line for line in lines if line.endswith("\n")]
