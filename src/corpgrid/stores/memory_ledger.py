"""The ledger of the store in memory (``ports.ledger``)."""

from __future__ import annotations

from collections.abc import Sequence

from corpgrid.domain.effects import AuditEntry
from corpgrid.ports.ledger import LedgerLine, Sealer
from corpgrid.trust.ledger import Span
from corpgrid.trust.log_tree import Frontier


class MemoryLedger:
    """``LedgerStore`` over a list of lines that only grows."""

    def __init__(self, audit: Sequence[AuditEntry]) -> None:
        self._audit = audit
        self._frontier = Frontier()
        self._nodes: dict[tuple[int, int], bytes] = {}
        self._checkpoints: dict[int, bytes] = {}

    async def seal(self, sealer: Sealer, *, limit: int) -> int:
        """Seal lines that wait; how many."""
        waiting = self._audit[self._frontier.size : self._frontier.size + limit]
        if waiting:
            made = sealer(self._frontier, waiting)
            self._nodes.update(((node.level, node.place), node.hash) for node in made.nodes)
            self._frontier = made.frontier
            self._checkpoints[made.frontier.size] = made.note
        return len(waiting)

    async def lines(self, *, start: int = 0, limit: int = 1_000) -> list[LedgerLine]:
        """Sealed entries from a position on."""
        places = range(start, min(start + limit, self._frontier.size))
        return [LedgerLine(place, self._nodes[0, place], self._audit[place]) for place in places]

    async def checkpoints(self, *, after: int = 0, limit: int = 1_000) -> list[tuple[int, bytes]]:
        """Checkpoints over more than ``after`` entries."""
        return [(size, note) for size, note in self._checkpoints.items() if size > after][:limit]

    async def newest(self) -> bytes:
        """The newest checkpoint."""
        return self._checkpoints.get(self._frontier.size, b"")

    async def kept(self, span: Span) -> list[bytes]:
        """Hashes of the tree."""
        places = range(span.first, span.first + span.count)
        return [self._nodes[span.level, place] for place in places if (span.level, place) in self._nodes]
