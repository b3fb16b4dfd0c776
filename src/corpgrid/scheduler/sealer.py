"""Seals the ledger: each second, what waits in the audit log gets its place in the Merkle log, under a checkpoint.

Rules:
* The one that leads seals.  A grid at rest is left alone.
* What this scheduler signed last is remembered outside of the database.  A database whose log does not begin with that
  was rewritten, or is an old copy: nothing more is signed for it until a person decided.
* A seal that fails is logged, and tried again in the next second; the lines wait meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from functools import partial
from typing import Protocol

from corpgrid.domain.effects import AuditEntry
from corpgrid.errors import CorpGridError, DigestError, StaleError
from corpgrid.ports.ledger import LedgerStore
from corpgrid.trust.checkpoint import Checkpoint, open_checkpoint
from corpgrid.trust.keys import PrivateKey
from corpgrid.trust.ledger import Seal, nodes_of, seal, spans
from corpgrid.trust.log_tree import Frontier, Nodes, root_of_first
from corpgrid.trust.note import NoteKey

log = logging.getLogger(__name__)

SEAL_SECONDS = 1.0
_LINES = 10_000


class Memory(Protocol):
    """Where the newest checkpoint is kept, beside the database."""

    def read(self) -> bytes:
        """It; empty if there is none."""

    def write(self, note: bytes) -> None:
        """Keep this one instead."""


class Sealer:
    """One scheduler's part in the ledger.

    Args:
        origin: the ledger's name.
        key: what signs.
        memory: what was signed last.
    """

    def __init__(self, origin: str, key: PrivateKey, memory: Memory) -> None:
        self._origin = origin
        self._key = key
        self._memory = memory
        self._checked = False

    async def run(self, ledger: LedgerStore) -> None:
        """Seal until it is cancelled."""
        self._checked = False
        told = ""
        while True:
            try:
                await self.seal(ledger)
                told = ""
            except StaleError as error:
                log.debug("not sealed error=%s", error)
            except CorpGridError as error:
                if str(error) != told:
                    log.warning("the ledger is not sealed code=%s error=%s remedy=%s", error.code, error, error.remedy)
                told = str(error)
            await asyncio.sleep(SEAL_SECONDS)

    async def seal(self, ledger: LedgerStore) -> int:
        """Seal all that waits; how many lines.

        Raises:
            DigestError: the log does not begin with what was signed last.
            StoreError: the store failed.
        """
        if not self._checked:
            await self._check(ledger)
            self._checked = True
        total, count = 0, _LINES
        while count == _LINES:
            made: list[Seal] = []
            count = await ledger.seal(partial(self._made, made), limit=_LINES)
            total += count
            if count:
                self._memory.write(made[-1].note)
        return total

    def _made(self, made: list[Seal], frontier: Frontier, entries: Sequence[AuditEntry]) -> Seal:
        """Called in the store's thread, and again where the store had to begin anew."""
        made.append(seal(frontier, entries, origin=self._origin, key=self._key))
        return made[-1]

    async def _check(self, ledger: LedgerStore) -> None:
        known = self._memory.read()
        if not known:
            return
        signed = open_checkpoint(known, self._origin, [NoteKey(self._origin, self._key.public)])
        if await self._root_at(ledger, signed) != signed.root:
            raise DigestError(
                f"the ledger does not begin with the {signed.size:,} entries that this scheduler signed",
                remedy="The database was changed by hand, or is an old copy.  Keep it and "
                "find out who did; to go on with it as it is, delete ledger.checkpoint in the scheduler's folder.",
            )

    async def _root_at(self, ledger: LedgerStore, signed: Checkpoint) -> bytes:
        """The root over as many entries as that checkpoint has; empty if there are not as many."""

        def root(nodes: Nodes) -> bytes:
            return root_of_first(nodes, signed.size)

        found = {span: await ledger.kept(span) for span in spans(root)}
        if any(len(hashes) != span.count for span, hashes in found.items()):
            return b""
        return root(nodes_of(found))
