"""The numbers that stand for words never change their meaning."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from corpgrid.domain.attempt import LIVE, AttemptState
from corpgrid.domain.job import Purpose, TaskState
from corpgrid.stores.sqlite import SqliteStore
from corpgrid.stores.sqlite_rows import (
    ATTEMPT_STATES,
    INDEX_BITS,
    LAST_LIVE,
    LAST_NUMBER,
    NUMBER_BITS,
    PURPOSES,
    TASK_STATES,
)
from corpgrid.trust.limits import MAX_ATTEMPTS, MAX_TASKS

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
