"""The numbers that stand for words never change their meaning."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from corpgrid.domain.attempt import LIVE, AttemptState
from corpgrid.domain.ids import JobId
from corpgrid.domain.job import Purpose, Task, TaskState
from corpgrid.stores.pieces import attempt_runs, attempts_by_key, task_runs, tasks_by_key
from corpgrid.stores.rows import ATTEMPT_STATES, INDEX_BITS, LAST_LIVE, LAST_NUMBER, NUMBER_BITS, PURPOSES, TASK_STATES
from corpgrid.stores.runs import tasks_of
from corpgrid.stores.spans import Span
from corpgrid.stores.sqlite.database import Database
from corpgrid.stores.sqlite.rows import attempt_run_of, task_run_of, values_of
from corpgrid.stores.sqlite.schema import migrate
from corpgrid.stores.sqlite.store import SqliteStore
from corpgrid.trust.limits import MAX_ATTEMPTS, MAX_TASKS
from tests.contracts.store_rows import attempt, device

KINDS = {"task": TASK_STATES, "purpose": PURPOSES, "attempt": ATTEMPT_STATES}


def test_every_word_has_a_number() -> None:
    assert set(TASK_STATES) == set(TaskState)
    assert set(PURPOSES) == set(Purpose)
    assert set(ATTEMPT_STATES) == set(AttemptState)
    assert set(ATTEMPT_STATES[: LAST_LIVE + 1]) == LIVE


def test_the_file_says_what_its_numbers_mean(store: SqliteStore, path: Path) -> None:
    connection = sqlite3.connect(path)
    words = connection.execute("SELECT kind, number, word FROM words").fetchall()
    connection.close()
    expected = {(kind, number, str(word)) for kind, members in KINDS.items() for number, word in enumerate(members)}
    assert set(words) == expected


def test_keys_have_room_for_the_largest_job() -> None:
    assert MAX_TASKS < 1 << INDEX_BITS
    assert MAX_ATTEMPTS < LAST_NUMBER
    jobs = 63 - INDEX_BITS - NUMBER_BITS
    assert 1 << jobs > 100_000_000


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(allow_nan=False), min_size=1, max_size=200), st.text(st.characters(exclude_categories=["Cs"]))
)
def test_floats_and_texts_of_tasks_come_back_exactly(values: list[float], text: str) -> None:
    job = JobId("job_a")
    tasks = [Task(job, index, ready_at=value, reason=text) for index, value in enumerate(values)]
    on = device("dev_a")
    attempts = [attempt(job, row.index, on=on, epoch=1)._replace(seconds=row.ready_at, reason=text) for row in tasks]
    made = task_runs(tasks_by_key(tasks, {job: 1}))
    tried = attempt_runs(attempts_by_key(attempts, {job: 1}), {on.id: 1})
    with TemporaryDirectory() as folder:
        database = Database(Path(folder) / "grid.db")
        migrate(database, now=0.0)
        database.put("put_tasks", values_of(made))
        database.put("put_attempts", values_of(tried))
        found = map(task_run_of, database.arrays_for("tasks_in", [Span(made[0].first, made[-1].last)]))
        assert [row for run in found for row in run.tasks(job, range(run.first, run.last + 1))] == tasks
        found = map(attempt_run_of, database.arrays_for("attempts_in", [Span(tried[0].first, tried[-1].last)]))
        assert [row for run in found for row in run.attempts(job, on.id, tasks_of(run))] == attempts
        database.close()
