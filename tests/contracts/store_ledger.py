"""What a store promises of the ledger: each line of the audit log once, in its place, for ever."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from corpgrid.domain.effects import AuditEntry, Effects
from corpgrid.ports.store import Store
from corpgrid.trust.checkpoint import open_checkpoint
from corpgrid.trust.keys import PrivateKey
from corpgrid.trust.ledger import Seal, encode_entry, nodes_of, seal, spans
from corpgrid.trust.log_tree import Frontier, check_inclusion, inclusion_proof, leaf_hash
from corpgrid.trust.note import NoteKey
from tests.contracts.store_rows import START, tick

KEY = PrivateKey.generate()
ORIGIN = "corpgrid/test"
KEYS = [NoteKey(ORIGIN, KEY.public)]
ALL = 10_000


def sealer(frontier: Frontier, entries: Sequence[AuditEntry]) -> Seal:
    return seal(frontier, entries, origin=ORIGIN, key=KEY)


def lines(start: int, end: int) -> list[AuditEntry]:
    return [
        AuditEntry(START + at / 8, "kind", f"subject_{at}", "scheduler \u00fc\x00", "d") for at in range(start, end)
    ]


class Ledger:
    """The audit log as a Merkle log."""

    async def test_a_new_ledger_is_empty(self, store: Store) -> None:
        assert await store.ledger.seal(sealer, limit=ALL) == 0
        assert await store.ledger.lines() == []
        assert await store.ledger.checkpoints() == []
        assert await store.ledger.newest() == b""

    async def test_each_line_is_sealed_once_and_in_order_in_the_ledger(self, store: Store) -> None:
        sizes = [0]
        for start, end in ((0, 3), (3, 3), (3, 260), (260, 700)):
            await tick(store, effects=Effects(audit=tuple(lines(start, end))))
            sealed = await store.ledger.seal(sealer, limit=ALL)
            assert sealed == end - start
            sizes += [end] if sealed else []
        found = await store.ledger.lines(limit=ALL)
        assert [line.entry for line in found] == lines(0, 700)
        assert [line.position for line in found] == list(range(700))
        assert [line.leaf for line in found] == [leaf_hash(encode_entry(line)) for line in lines(0, 700)]
        assert await store.ledger.lines(start=698, limit=1) == [found[698]]
        kept = await store.ledger.checkpoints()
        assert [size for size, _ in kept] == sizes[1:]
        assert await store.ledger.checkpoints(after=3, limit=1) == [kept[1]]
        assert await store.ledger.newest() == kept[-1][1]
        for size, note in kept:
            seen = open_checkpoint(note, ORIGIN, KEYS)
            assert (seen.size, seen.root) == (size, Frontier().extend(map(encode_entry, lines(0, size))).root())

    async def test_no_more_lines_are_sealed_at_once_than_were_asked_for(self, store: Store) -> None:
        await tick(store, effects=Effects(audit=tuple(lines(0, 10))))
        assert [await store.ledger.seal(sealer, limit=4) for _ in range(4)] == [4, 4, 2, 0]
        assert [line.entry for line in await store.ledger.lines()] == lines(0, 10)

    async def test_a_seal_that_fails_changes_nothing_in_the_ledger(self, store: Store) -> None:
        await tick(store, effects=Effects(audit=tuple(lines(0, 10))))
        with pytest.raises(ZeroDivisionError):
            await store.ledger.seal(lambda _frontier, _entries: 1 / 0, limit=ALL)  # type: ignore[arg-type,return-value]
        assert await store.ledger.lines() == []
        assert await store.ledger.seal(sealer, limit=ALL) == 10

    async def test_what_is_kept_proves_an_entry_of_the_ledger(self, store: Store) -> None:
        await tick(store, effects=Effects(audit=tuple(lines(0, 1_000))))
        await store.ledger.seal(sealer, limit=ALL)
        found = {
            span: await store.ledger.kept(span) for span in spans(lambda nodes: inclusion_proof(nodes, 300, 1_000))
        }
        proof = inclusion_proof(nodes_of(found), 300, 1_000)
        (line,) = await store.ledger.lines(start=300, limit=1)
        root = open_checkpoint(await store.ledger.newest(), ORIGIN, KEYS).root
        check_inclusion(root, line.leaf, proof, index=300, size=1_000)
