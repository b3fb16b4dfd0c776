"""What a store keeps of the ledger (``trust.ledger``), and the one way in which it grows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from corpgrid.domain.effects import AuditEntry
from corpgrid.trust.ledger import Seal, Span
from corpgrid.trust.log_tree import Frontier

Sealer = Callable[[Frontier, Sequence[AuditEntry]], Seal]
"""Puts these entries behind the log that a frontier stands for; it must not block."""


class LedgerLine(NamedTuple):
    """An entry in its place.

    Attributes:
        entry: what stands in the audit log; None if it is gone.
        leaf: its hash as it was when it was sealed.
    """

    position: int
    leaf: bytes
    entry: AuditEntry | None


class LedgerStore(Protocol):
    """The ledger of a store: each line of its audit log once, in the order in which they were sealed."""

    async def seal(self, sealer: Sealer, *, limit: int) -> int:
        """Call ``sealer`` with at most ``limit`` lines that wait, and write what it returns, all in one transaction.

        Returns how many lines were sealed; with none that wait ``sealer`` is not called.

        Raises:
            StoreError: the store failed; nothing was changed.
            StaleError: another scheduler leads; nothing was changed.
        """

    async def lines(self, *, start: int = 0, limit: int = 1_000) -> list[LedgerLine]:
        """Sealed entries from a position on."""

    async def checkpoints(self, *, after: int = 0, limit: int = 1_000) -> list[tuple[int, bytes]]:
        """Checkpoints over more than ``after`` entries, the smallest first: size and signed note."""

    async def newest(self) -> bytes:
        """The newest checkpoint; empty if nothing was ever sealed."""

    async def kept(self, span: Span) -> list[bytes]:
        """Hashes of the tree, as many of these as there are."""
