"""The ledger: sealed in any pieces it is one log, and what is kept of it proves everything."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpgrid.domain.effects import AuditEntry
from corpgrid.errors import MalformedDataError
from corpgrid.trust.checkpoint import open_checkpoint
from corpgrid.trust.keys import PrivateKey
from corpgrid.trust.ledger import STRIDE, Seal, decode_entry, encode_entry, nodes_of, origin_of, seal, spans
from corpgrid.trust.log_tree import (
    Frontier,
    check_consistency,
    check_inclusion,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
)
from corpgrid.trust.note import NoteKey

KEY = PrivateKey.generate()
ORIGIN = origin_of("grid")
ENTRIES = st.builds(AuditEntry, st.floats(0, 1e12), st.text(), st.text(), st.text(), st.text())
MOST = 3 * (1 << 2 * STRIDE) // 2
SIZES = st.one_of(st.integers(1, 700), st.integers(MOST - 300, MOST))


def _lines(start: int, end: int) -> list[AuditEntry]:
    return [AuditEntry(float(number), "job.submitted", f"job-{number}", "somebody") for number in range(start, end)]


LINES = _lines(0, MOST)
LEAVES = [leaf_hash(encode_entry(line)) for line in LINES]


def _sealed(cuts: list[int]) -> list[Seal]:
    seals = [seal(Frontier(), LINES[: cuts[0]], origin=ORIGIN, key=KEY)]
    for start, end in pairwise(cuts):
        seals.append(seal(seals[-1].frontier, LINES[start:end], origin=ORIGIN, key=KEY))
    return seals


WHOLE = _sealed([MOST])
KEPT = {(node.level, node.place): node.hash for node in WHOLE[0].nodes}


@given(entry=ENTRIES)
def test_an_entry_of_the_ledger_has_one_spelling(entry: AuditEntry) -> None:
    content = encode_entry(entry)
    assert decode_entry(content) == entry
    with pytest.raises(MalformedDataError):
        decode_entry(content.replace(b'"at":', b'"at": ', 1))


@given(cuts=st.lists(st.integers(0, 1_500), min_size=1, max_size=12).map(sorted))
def test_a_ledger_sealed_in_pieces_is_one_log(cuts: list[int]) -> None:
    seals = _sealed(cuts)
    nodes = [node for made in seals for node in made.nodes]
    assert len({(node.level, node.place) for node in nodes}) == len(nodes)
    whole = seal(Frontier(), LINES[: cuts[-1]], origin=ORIGIN, key=KEY)
    assert set(nodes) == set(whole.nodes)
    assert seals[-1].frontier == whole.frontier == Frontier().extend_leaves(LEAVES[: cuts[-1]])
    for end, made in zip(cuts, seals, strict=True):
        seen = open_checkpoint(made.note, ORIGIN, [NoteKey(ORIGIN, KEY.public)])
        assert (seen.size, seen.root) == (end, Frontier().extend_leaves(LEAVES[:end]).root())


@settings(max_examples=40, deadline=None)
@given(data=st.data(), size=SIZES)
def test_what_is_kept_of_a_ledger_proves_all_of_it(data: st.DataObject, size: int) -> None:
    index, earlier = data.draw(st.integers(0, size - 1)), data.draw(st.integers(0, size))
    root = Frontier().extend_leaves(LEAVES[:size]).root()

    found = {}
    for make in (
        lambda nodes: inclusion_proof(nodes, index, size),
        lambda nodes: consistency_proof(nodes, earlier, size),
    ):
        for span in spans(make):
            found[span] = [KEPT[span.level, span.first + place] for place in range(span.count)]
    nodes = nodes_of(found)

    assert all(span.level % STRIDE == 0 and span.count < 1 << STRIDE for span in found)
    proof = inclusion_proof(nodes, index, size)
    check_inclusion(root, LEAVES[index], proof, index=index, size=size)
    assert sum(map(len, proof)) < 1_000
    before = Frontier().extend_leaves(LEAVES[:earlier]).root()
    check_consistency(before, root, consistency_proof(nodes, earlier, size), earlier=earlier, size=size)
