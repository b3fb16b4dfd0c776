"""Memory and PostgreSQL are the same store; ``test_store_equality`` says so of memory and SQLite, with the same ticks.

Only the numbers that a tick may use need not be the same: those of PostgreSQL come in blocks, one for each opening.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule

from corpgrid.domain.effects import Effects, Need, View
from corpgrid.errors import StoreError
from corpgrid.stores.postgres import writer as postgres_writer
from corpgrid.stores.postgres.commit import commit
from corpgrid.stores.postgres.store import PostgresStore
from tests.contracts import store_rows as rows
from tests.contracts.test_store_equality import Equality
from tests.postgres.fixtures import new_dsn, open_store


class PostgresEquality(Equality):
    """Memory, and PostgreSQL where the other machine has SQLite."""

    def __init__(self) -> None:
        self.dsn = new_dsn()
        super().__init__()

    async def open(self) -> PostgresStore:
        return await open_store(self.dsn, self.clock)

    def tick(self, effects: Effects, need: Need | None = None) -> None:
        need = need or (Need() if self.blind else self.everything)
        first = self.run(rows.tick(self.memory, need, effects))
        second = self.run(rows.tick(self.sqlite, need, effects))
        assert second.next_epoch >= first.next_epoch
        assert second.next_batch >= first.next_batch
        assert first == replace(second, next_epoch=first.next_epoch, next_batch=first.next_batch)

    @rule(data=st.data(), when=st.sampled_from(["deciding", "committing"]))
    def undo(self, data: st.DataObject, when: str) -> None:
        effects = self.much(data)

        def decide(_: View) -> Effects:
            if when == "deciding":
                raise StoreError("a bug")
            return effects

        async def commit_and_fail(*args: Any, **named: Any) -> int:
            await commit(*args, **named)
            raise StoreError("a bug")

        with patch.object(postgres_writer, "commit", commit_and_fail), pytest.raises(StoreError):
            self.run(self.sqlite.transact(self.everything, decide))


TestPostgresEquality = PostgresEquality.TestCase
TestPostgresEquality.settings = settings(
    max_examples=8,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
