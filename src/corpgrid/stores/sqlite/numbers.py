"""The integers that stand for jobs and devices in other rows, remembered by the one writer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

from corpgrid.errors import StoreError
from corpgrid.stores.sqlite.database import Database

Id = TypeVar("Id", bound=str)
_REMEMBERED = 500_000


class Numbers(Generic[Id]):
    """Ids and numbers of one table.

    Attributes:
        number: id to number, of all that were asked for in this tick.
        id: number to id, the same.
    """

    def __init__(self, database: Database, *, kind: str) -> None:
        self._database = database
        self._kind = kind
        self.number: dict[Id, int] = {}
        self.id: dict[int, Id] = {}

    def start_tick(self) -> None:
        """Keep what is remembered within bounds; only between ticks."""
        if len(self.id) > _REMEMBERED:
            self.forget()

    def forget(self) -> None:
        """Remember nothing: a transaction that may have given out numbers was undone."""
        self.number.clear()
        self.id.clear()

    def known(self, ids: Iterable[Id]) -> list[int]:
        """The numbers of those of ``ids`` that have a row."""
        wanted = list(ids)
        self._remember("numbers", [key for key in wanted if key not in self.number])
        return [self.number[key] for key in wanted if key in self.number]

    def learn(self, key: Id, number: int) -> None:
        """Remember a number that was read elsewhere."""
        self.number[key] = number
        self.id[number] = key

    def require(self, ids: Iterable[Id]) -> None:
        """Learn the numbers of ``ids``.

        Raises:
            StoreError: one has no row.
        """
        wanted = set(ids)
        if len(self.known(wanted)) < len(wanted):
            gone = sorted(wanted - self.number.keys())
            raise StoreError(f"a row names a {self._kind} that is not in the store: {', '.join(gone[:3])}")

    def name(self, numbers: Iterable[int]) -> None:
        """Learn the ids of ``numbers``, which were read from rows of the store."""
        self._remember("ids", [number for number in set(numbers) if number not in self.id])

    def _remember(self, what: str, wanted: list[Id] | list[int]) -> None:
        for key, number in self._database.rows_for(f"{self._kind}_{what}", wanted):
            self.learn(key, number)
