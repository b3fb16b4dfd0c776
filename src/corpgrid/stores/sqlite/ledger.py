"""The ledger in a SQLite file (``ports.ledger``): sealed by the writer's thread, between two ticks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import chain
from typing import Any, Protocol, TypeVar

from corpgrid.domain.effects import AuditEntry
from corpgrid.ports.ledger import LedgerLine, Sealer
from corpgrid.stores.sqlite.database import Database, Row
from corpgrid.trust.ledger import Span
from corpgrid.trust.log_tree import Frontier

Result = TypeVar("Result")


class Run(Protocol):
    """Has a function called with a connection, in the connection's thread."""

    def __call__(self, call: Callable[[Database], Result], /) -> Awaitable[Result]:
        """What the function returns."""


class SqliteLedger:
    """``LedgerStore``.

    Args:
        write: to the connection that writes.
        read: to the one that reads.
    """

    def __init__(self, *, write: Run, read: Run) -> None:
        self._write = write
        self._run = read

    async def seal(self, sealer: Sealer, *, limit: int) -> int:
        """Seal lines that wait; how many."""
        return await self._write(lambda database: _seal(database, sealer, limit))

    async def lines(self, *, start: int = 0, limit: int = 1_000) -> list[LedgerLine]:
        """Sealed entries from a position on."""
        return list(map(line_of, await self._rows("ledger_lines", start, limit)))

    async def checkpoints(self, *, after: int = 0, limit: int = 1_000) -> list[tuple[int, bytes]]:
        """Checkpoints over more than ``after`` entries."""
        return [(size, note) for size, note in await self._rows("ledger_checkpoints", after, limit)]

    async def newest(self) -> bytes:
        """The newest checkpoint."""
        return b"".join(note for (note,) in await self._rows("ledger_newest"))

    async def kept(self, span: Span) -> list[bytes]:
        """Hashes of the tree."""
        if span.level == 0:
            return [leaf for (leaf,) in await self._rows("ledger_leaves", span.first, span.count)]
        return [node for (node,) in await self._rows("ledger_nodes", span.first, span.count, span.level)]

    async def _rows(self, statement: str, *values: Any) -> list[Row]:
        def read(database: Database) -> list[Row]:
            with database.translated():
                return database.rows(statement, *values)

        return await self._run(read)


def line_of(row: tuple[Any, ...]) -> LedgerLine:
    """A row of ``ledger_lines``."""
    position, leaf, *entry = row
    return LedgerLine(position, leaf, None if entry[0] is None else AuditEntry._make(entry))


def _seal(database: Database, sealer: Sealer, limit: int) -> int:
    with database.transaction():
        waiting = database.rows("ledger_waiting", limit)
        if not waiting:
            return 0
        head = database.rows("ledger_frontier")
        frontier = Frontier.decode(head[0][0]) if head else Frontier()
        made = sealer(frontier, [AuditEntry._make(row[1:]) for row in waiting])
        leaves = [node.hash for node in made.nodes if node.level == 0]
        rows = zip(range(made.first, made.frontier.size), (row[0] for row in waiting), leaves, strict=True)
        database.put("add_ledger", list(chain.from_iterable(rows)))
        database.put("add_ledger_nodes", list(chain.from_iterable(node for node in made.nodes if node.level)))
        database.run("add_ledger_checkpoint", made.frontier.size, made.frontier.encode(), made.note)
    return len(waiting)
