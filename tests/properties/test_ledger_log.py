"""The log's tree against the recursive definition of RFC 6962, and its proofs against whoever would bend them."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpgrid.errors import DigestError
from corpgrid.trust.log_tree import (
    EMPTY_ROOT,
    Frontier,
    check_consistency,
    check_inclusion,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
)

LARGEST = 70
LEAVES = [leaf_hash(b"%d" % number) for number in range(LARGEST)]
SIZES = st.integers(1, LARGEST)


def definition(leaves: Sequence[bytes]) -> bytes:
    """MTH of RFC 6962, section 2.1."""
    if not leaves:
        return EMPTY_ROOT
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while 2 * split < len(leaves):
        split *= 2
    return node_hash(definition(leaves[:split]), definition(leaves[split:]))


def nodes(level: int, place: int) -> bytes:
    """The root of a perfect subtree; asking for one that is not whole is a mistake of the asker."""
    leaves = LEAVES[place << level : (place + 1) << level]
    assert len(leaves) == 1 << level
    return definition(leaves)


@given(st.lists(st.integers(0, LARGEST), min_size=1, max_size=6).map(sorted))
def test_a_frontier_grows_to_the_same_root_in_whatever_steps(sizes: list[int]) -> None:
    frontier, at = Frontier(), 0
    for size in sizes:
        frontier, at = Frontier.decode(frontier.extend_leaves(LEAVES[at:size]).encode()), size
        assert (frontier.size, frontier.root()) == (size, definition(LEAVES[:size]))


@pytest.mark.parametrize("size", range(1, LARGEST + 1))
def test_every_entry_is_proven_to_stand_where_it_stands_and_nowhere_else(size: int) -> None:
    root = definition(LEAVES[:size])
    for index in range(size):
        proof = inclusion_proof(nodes, index, size)
        assert len(proof) <= (size - 1).bit_length()
        check_inclusion(root, LEAVES[index], proof, index=index, size=size)
        with pytest.raises(DigestError):
            check_inclusion(root, LEAVES[index], proof, index=(index + 1) % size, size=size + (size == 1))


@pytest.mark.parametrize("size", range(LARGEST + 1))
def test_every_log_is_proven_to_begin_with_all_that_it_was(size: int) -> None:
    root = definition(LEAVES[:size])
    for earlier in range(size + 1):
        proof = consistency_proof(nodes, earlier, size)
        assert len(proof) <= size.bit_length() + 1
        check_consistency(definition(LEAVES[:earlier]), root, proof, earlier=earlier, size=size)


@given(SIZES, st.data())
def test_a_proof_that_was_tampered_with_proves_nothing(size: int, data: st.DataObject) -> None:
    index, chance = data.draw(st.integers(0, size - 1)), Random(data.draw(st.integers(0, 1 << 30)))
    root, proof = definition(LEAVES[:size]), inclusion_proof(nodes, index, size)
    for bent in tampered(proof, chance):
        with pytest.raises(DigestError):
            check_inclusion(root, LEAVES[index], bent, index=index, size=size)


@given(SIZES, st.data())
def test_a_log_that_was_rewritten_has_no_proof(size: int, data: st.DataObject) -> None:
    earlier = data.draw(st.integers(1, size))
    changed, chance = data.draw(st.integers(0, earlier - 1)), Random(data.draw(st.integers(0, 1 << 30)))
    other = [*LEAVES[:changed], leaf_hash(b"rewritten"), *LEAVES[changed + 1 : size]]
    seen, root = definition(LEAVES[:earlier]), definition(LEAVES[:size])
    proof = consistency_proof(nodes, earlier, size)
    with pytest.raises(DigestError):
        check_consistency(seen, definition(other), proof, earlier=earlier, size=size)
    with pytest.raises(DigestError):
        check_consistency(definition(other[:earlier]), root, proof, earlier=earlier, size=size)
    for bent in tampered(proof, chance):
        with pytest.raises(DigestError):
            check_consistency(seen, root, bent, earlier=earlier, size=size)


def tampered(proof: tuple[bytes, ...], chance: Random) -> list[tuple[bytes, ...]]:
    """With a bit flipped, a step less, a step more, two steps exchanged."""
    bent = [(*proof, leaf_hash(b"more")), (leaf_hash(b"more"), *proof)]
    if proof:
        place, bit = chance.randrange(len(proof)), chance.randrange(256)
        step = (int.from_bytes(proof[place], "big") ^ (1 << bit)).to_bytes(32, "big")
        bent += [(*proof[:place], step, *proof[place + 1 :]), proof[1:], proof[:-1]]
    if len(set(proof)) > 1:
        bent.append(tuple(reversed(proof)))
    return bent
