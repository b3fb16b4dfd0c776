"""Merkle trees of any size: the shape of RFC 6962, and proofs that hold for one leaf at one place."""

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from corpgrid.errors import DigestError
from corpgrid.trust.digest import Hasher, check_proof, chunk_digests, digest, merkle_proof, merkle_root

LEAVES = st.lists(st.binary(max_size=40), min_size=1, max_size=70)


def by_definition(leaves: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, word for word."""
    if len(leaves) == 1:
        return blake3(b"\x00" + leaves[0]).digest()
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return blake3(b"\x01" + by_definition(leaves[:split]) + by_definition(leaves[split:])).digest()


@given(LEAVES)
def test_the_root_is_the_defined_one(leaves):
    assert merkle_root(leaves) == by_definition(leaves)


@given(LEAVES, st.data())
def test_every_leaf_has_a_proof(leaves, data):
    index = data.draw(st.integers(0, len(leaves) - 1))
    proof = merkle_proof(leaves, index)
    check_proof(merkle_root(leaves), leaves[index], proof, index=index, count=len(leaves))
    assert len(proof) <= len(leaves).bit_length()


@given(LEAVES, st.data())
def test_a_proof_holds_for_nothing_else(leaves, data):
    index, other = (data.draw(st.integers(0, len(leaves) - 1)) for _ in range(2))
    root, proof = merkle_root(leaves), list(merkle_proof(leaves, index))
    with pytest.raises(DigestError):
        check_proof(root, leaves[index] + b"x", proof, index=index, count=len(leaves))
    if leaves[other] != leaves[index]:
        with pytest.raises(DigestError):
            check_proof(root, leaves[other], proof, index=index, count=len(leaves))
    if proof:
        step, bit = data.draw(st.integers(0, len(proof) - 1)), data.draw(st.integers(0, 255))
        proof[step] = (int.from_bytes(proof[step], "big") ^ (1 << bit)).to_bytes(32, "big")
        with pytest.raises(DigestError):
            check_proof(root, leaves[index], proof, index=index, count=len(leaves))


@given(LEAVES, st.data())
def test_another_list_has_another_root(leaves, data):
    index = data.draw(st.integers(0, len(leaves) - 1))
    for changed in (
        [*leaves[:index], leaves[index] + b"\x00", *leaves[index + 1 :]],
        [*leaves[:index], *leaves[index + 1 :]],
        [*leaves[: index + 1], *leaves[index:]],
    ):
        assert merkle_root(changed) != merkle_root(leaves)


@given(st.lists(st.binary(max_size=3_000), max_size=6))
def test_pieces_do_not_matter(pieces):
    hasher = Hasher()
    for piece in pieces:
        hasher.update(piece)
    assert hasher.digest() == digest(b"".join(pieces))


@given(st.binary(max_size=500), st.integers(1, 600))
def test_chunks_are_the_content_in_order(content, chunk_bytes):
    digests = chunk_digests(content, chunk_bytes=chunk_bytes)
    pieces = [content[at * chunk_bytes : (at + 1) * chunk_bytes] for at in range(len(digests))]
    assert b"".join(pieces) == content
    assert digests == tuple(map(digest, pieces))
