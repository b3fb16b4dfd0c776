"""What the store does when the world fails it."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from corpgrid.domain.effects import AuditEntry, Effects
from corpgrid.domain.ids import JobId
from corpgrid.errors import MigrationError, StoreError
from corpgrid.stores.rows import LAST_NUMBER
from corpgrid.stores.sqlite.store import SqliteStore
from tests.contracts.store_rows import (
    START,
    FakeClock,
    attempt,
    batch,
    device,
    hand_out,
    need,
    new_job,
    settings,
    task,
    tick,
)


def large(number: int, size: int) -> Effects:
    row = batch(number, "job_a", device("dev_a"))
    return Effects(batches=(row._replace(content=os.urandom(size)),))


async def fill(store: SqliteStore) -> int:
    """Write until there is no room; how many batches were acknowledged."""
    await tick(store, effects=Effects(devices=(device("dev_a"),), new_jobs=(new_job("job_a", 3),)))
    for number in range(10_000):
        try:
            await tick(store, effects=large(number + 1, 50_000))
        except StoreError as error:
            refusal = error
            break
    else:
        raise AssertionError("there was room for everything")
    assert "no room" in str(refusal)
    assert refusal.remedy
    return number


async def test_a_full_store_refuses_and_goes_on(path: Path, clock: FakeClock) -> None:
    store = await SqliteStore.open(path, settings(clock), max_bytes=1 << 20)
    number = await fill(store)
    assert number > 5
    for _ in range(3):
        with pytest.raises(StoreError, match="no room"):
            await tick(store, effects=large(number + 1, 500_000))
    small = Effects(audit=(AuditEntry(START, "kind", "subject", "actor"),))
    await tick(store, effects=small)
    assert len(await store.audit_log()) == 1
    assert len(await store.batches(range(number + 2))) == number
    assert (await tick(store)).next_batch == number + 1
    await store.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = os.name == "posix" and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", folder], check=False, capture_output=True
    )
    if not mounted or mounted.returncode:
        pytest.skip("mounting a small disk needs root")
    yield folder
    subprocess.run(["umount", folder], check=True)


async def test_a_full_disk_loses_nothing_that_was_acknowledged(small_disk: Path, clock: FakeClock) -> None:
    store = await SqliteStore.open(small_disk / "grid.db", settings(clock))
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(1 << 20))
    number = await fill(store)
    assert len(await store.batches(range(number + 2))) == number
    ballast.unlink()
    await tick(store, effects=large(number + 1, 50_000))
    await store.close()
    again = await SqliteStore.open(small_disk / "grid.db", settings(clock))
    assert len(await again.batches(range(number + 3))) == number + 1
    await again.close()


async def test_a_tick_that_fails_at_its_end_changes_nothing(store: SqliteStore) -> None:
    on = device("dev_a")
    await tick(store, effects=Effects(devices=(on,), new_jobs=(new_job("job_a", 3),)))
    await hand_out(store, "job_a", [0], on)
    wrong = Effects(
        new_jobs=(new_job("job_b", 2),),
        devices=(device("dev_b"),),
        tasks=(task("job_a", 1, open=7),),
        new_attempts=(attempt("job_a", 0, on=on, epoch=9),),
    )
    before = await tick(store, need(ready=10, devices=["dev_a", "dev_b"], jobs=["job_b"]))
    with pytest.raises(StoreError):
        await tick(store, effects=wrong)
    assert await tick(store, need(ready=10, devices=["dev_a", "dev_b"], jobs=["job_b"])) == before
    assert await store.job(JobId("job_b")) is None
    await tick(store, effects=Effects(devices=(device("dev_c"),), new_jobs=(new_job("job_c", 2),)))
    await hand_out(store, "job_c", [1], device("dev_c"))
    (row,) = await store.attempts(JobId("job_c"), 1)
    assert (row.job, row.device) == ("job_c", "dev_c"), "a number of the tick that was undone was remembered"


@pytest.mark.parametrize(
    "wrong",
    [
        task("job_a", 0, attempts=1 << 70),
        task("job_a", 0, reason="\ud800"),
        task("job_a", 0, ready_at=float("nan")),
        task("job_a", 0, ready_at="soon"),
    ],
)
async def test_a_value_that_cannot_be_stored_is_refused(store: SqliteStore, wrong) -> None:
    await tick(store, effects=Effects(new_jobs=(new_job("job_a", 3),)))
    with pytest.raises(StoreError):
        await tick(store, effects=Effects(tasks=(wrong,)))
    assert len((await tick(store, need(ready=9))).ready) == 3


async def test_a_task_has_so_many_attempts_and_no_more(store: SqliteStore) -> None:
    on = device("dev_a")
    await tick(store, effects=Effects(devices=(on,), new_jobs=(new_job("job_a", 2),)))
    last = attempt("job_a", 0, on=on, epoch=1, number=LAST_NUMBER)
    await tick(store, effects=Effects(new_attempts=(last,)))
    with pytest.raises(StoreError, match="attempts"):
        await tick(store, effects=Effects(new_attempts=(last._replace(number=LAST_NUMBER + 1),)))
    assert await store.attempts(JobId("job_a"), 0) == [last]
    assert await store.attempts(JobId("job_a"), 1) == []


async def test_commits_are_on_the_disk(store: SqliteStore) -> None:
    def pragma(name: str) -> object:
        return store._databases[0][1].connection.execute(f"PRAGMA {name}").fetchone()[0]

    in_thread = asyncio.get_running_loop().run_in_executor
    assert await in_thread(store._writing, pragma, "journal_mode") == "wal"
    assert await in_thread(store._writing, pragma, "synchronous") == 2, "FULL"


async def test_a_second_scheduler_is_told_who_has_the_store(store: SqliteStore, path: Path, clock: FakeClock) -> None:
    with pytest.raises(StoreError, match=f"in use by process {os.getpid()}") as caught:
        await SqliteStore.open(path, settings(clock))
    assert "other scheduler" in caught.value.remedy
    await tick(store)


async def test_another_process_is_refused_too(store: SqliteStore, path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from corpgrid.stores.lockfile import LockFile\n"
        "LockFile(Path(sys.argv[1]), what='it')"
    )
    lock = str(path) + ".lock"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, lock, stderr=subprocess.PIPE)
    _, errors = await process.communicate()
    assert b"in use by process" in errors
    await store.close()
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, lock)
    assert await process.wait() == 0


async def test_a_closed_store_can_be_opened_again(store: SqliteStore, path: Path, clock: FakeClock) -> None:
    await tick(store, effects=Effects(new_jobs=(new_job("job_a", 3),)))
    await store.close()
    again = await SqliteStore.open(path, settings(clock))
    assert len((await tick(again, need(ready=9))).ready) == 3
    await again.close()


async def test_what_is_no_store_is_refused(tmp_path: Path, clock: FakeClock) -> None:
    (tmp_path / "text.db").write_text("hello " * 1_000)
    with pytest.raises(StoreError, match="NOTADB") as caught:
        await SqliteStore.open(tmp_path / "text.db", settings(clock))
    assert caught.value.remedy
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("CREATE TABLE mine (x)")
    other.close()
    with pytest.raises(MigrationError, match="not one of CorpGrid"):
        await SqliteStore.open(tmp_path / "other.db", settings(clock))
    with pytest.raises(StoreError, match="locked"):
        await SqliteStore.open(tmp_path / "nowhere" / "grid.db", settings(clock))


async def test_the_file_is_for_its_owner_alone(store: SqliteStore, path: Path) -> None:
    modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    assert set(modes.values()) == {0o600}, modes
