"""The ledger in PostgreSQL (``ports.ledger``).

* One scheduler seals, the one that leads; a lock keeps one that was slow from sealing beside it.
* Lines wait in a table of their own from their commit on, and leave it in the transaction that seals them.
"""

from __future__ import annotations

from typing import Any

from corpgrid.domain.effects import AuditEntry
from corpgrid.ports.ledger import LedgerLine, Sealer
from corpgrid.stores.postgres.database import Pool, Session
from corpgrid.stores.postgres.driver import translated
from corpgrid.stores.postgres.lead import Lead
from corpgrid.stores.postgres.rows import received
from corpgrid.trust.ledger import Span
from corpgrid.trust.log_tree import Frontier


class PostgresLedger:
    """``LedgerStore``.

    Args:
        pool: where a connection is borrowed.
        lead: who may seal.
        place: the database, for messages.
    """

    def __init__(self, pool: Pool, lead: Lead, *, place: str) -> None:
        self._pool = pool
        self._lead = lead
        self._place = place

    async def seal(self, sealer: Sealer, *, limit: int) -> int:
        """Seal lines that wait; how many."""
        with translated(self._place):
            async with self._pool.acquire() as connection:
                session = Session(connection, self._place)
                await session.begin()
                try:
                    await self._lead.require(session)
                    sealed = await _seal(session, sealer, limit)
                except BaseException:
                    await session.undo()
                    raise
                await session.commit()
        return sealed

    async def lines(self, *, start: int = 0, limit: int = 1_000) -> list[LedgerLine]:
        """Sealed entries from a position on."""
        return list(map(_line_of, await self._rows("ledger_lines", start, limit)))

    async def checkpoints(self, *, after: int = 0, limit: int = 1_000) -> list[tuple[int, bytes]]:
        """Checkpoints over more than ``after`` entries."""
        return [(size, bytes(note)) for size, note in await self._rows("ledger_checkpoints", after, limit)]

    async def newest(self) -> bytes:
        """The newest checkpoint."""
        return b"".join(note for (note,) in await self._rows("ledger_newest"))

    async def kept(self, span: Span) -> list[bytes]:
        """Hashes of the tree."""
        if span.level == 0:
            return [bytes(leaf) for (leaf,) in await self._rows("ledger_leaves", span.first, span.count)]
        return [bytes(node) for (node,) in await self._rows("ledger_nodes", span.first, span.count, span.level)]

    async def _rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with translated(self._place):
            async with self._pool.acquire() as connection:
                return await Session(connection, self._place).rows(statement, *values)


def _line_of(row: tuple[Any, ...]) -> LedgerLine:
    position, leaf, *entry = row
    return LedgerLine(position, bytes(leaf), None if entry[0] is None else AuditEntry._make(received(tuple(entry))))


async def _seal(session: Session, sealer: Sealer, limit: int) -> int:
    await session.run("lock_ledger")
    waiting = await session.rows("take_waiting", limit)
    if not waiting:
        return 0
    head = await session.rows("ledger_frontier")
    frontier = Frontier.decode(bytes(head[0][0])) if head else Frontier()
    made = sealer(frontier, [AuditEntry._make(received(row)[1:]) for row in waiting])
    leaves = [node.hash for node in made.nodes if node.level == 0]
    positions = list(range(made.first, made.frontier.size))
    await session.run("add_ledger", positions, [row[0] for row in waiting], leaves)
    above = [node for node in made.nodes if node.level]
    if above:
        await session.run("add_ledger_nodes", *map(list, zip(*above, strict=True)))
    await session.run("add_ledger_checkpoint", made.frontier.size, made.frontier.encode(), made.note)
    return len(waiting)
