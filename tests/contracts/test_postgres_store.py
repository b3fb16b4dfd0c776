"""The store on PostgreSQL keeps the contract."""

from __future__ import annotations

from tests.contracts.store import StoreContract
from tests.postgres.fixtures import clock, dsn, store

__all__ = ["clock", "dsn", "store"]


class TestPostgres(StoreContract):
    """A schema of its own for each test."""
