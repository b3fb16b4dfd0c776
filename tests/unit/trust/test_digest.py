"""BLAKE3 against its published vectors, and Merkle trees against RFC 6962 written out by hand."""

import json
from pathlib import Path

import pytest
from blake3 import blake3

from corpgrid.domain.ids import Digest
from corpgrid.errors import DigestError
from corpgrid.trust.digest import (
    Hasher,
    check_proof,
    chunk_digests,
    chunk_proof,
    chunk_root,
    digest,
    digests,
    equal,
    merkle_proof,
    merkle_root,
    require,
    require_chunk,
    require_digest,
)

VECTORS = json.loads((Path(__file__).parent / "blake3_vectors.json").read_text())
ROOT = merkle_root([b"a", b"b", b"c"])


def leaf(content: bytes) -> bytes:
    return blake3(b"\x00" + content).digest()


def node(left: bytes, right: bytes) -> bytes:
    return blake3(b"\x01" + left + right).digest()


def vector_input(length: int) -> bytes:
    return (bytes(range(251)) * (length // 251 + 1))[:length]


@pytest.mark.parametrize(("length", "plain", "keyed", "derived"), VECTORS["cases"])
def test_published_vectors(length, plain, keyed, derived):
    content = vector_input(length)
    assert digest(content).hex() == plain
    assert blake3(content, key=VECTORS["key"].encode()).hexdigest() == keyed
    assert blake3(content, derive_key_context=VECTORS["context"]).hexdigest() == derived


@pytest.mark.parametrize("piece", [1, 7, 1_000, 1_024, 65_536])
def test_pieces_give_the_published_digest(piece):
    for length, plain, _, _ in VECTORS["cases"][:12]:
        content, hasher = vector_input(length), Hasher()
        for start in range(0, length, piece):
            hasher.update(memoryview(content)[start : start + piece])
        assert hasher.digest().hex() == plain


def test_a_hasher_goes_on_after_a_digest():
    hasher = Hasher()
    assert hasher.digest() == digest(b"")
    hasher.update(b"ab")
    assert hasher.digest() == digest(b"ab")
    hasher.update(b"c")
    assert hasher.digest() == digest(b"abc")


def test_many_digests_are_those_of_each():
    contents = [vector_input(length) for length in (0, 1, 65, 2_000, 3)]
    assert digests(contents) == [digest(content) for content in contents]
    assert digests([]) == []


def test_trees_have_the_shape_of_rfc_6962():
    a, b, c, d, e = (leaf(bytes([place])) for place in b"abcde")
    assert merkle_root([]) == digest(b"")
    assert merkle_root([b"a"]) == a
    assert merkle_root([b"a", b"b"]) == node(a, b)
    assert merkle_root([b"a", b"b", b"c"]) == node(node(a, b), c)
    assert merkle_root([b"a", b"b", b"c", b"d", b"e"]) == node(node(node(a, b), node(c, d)), e)
    assert merkle_proof([b"a", b"b", b"c", b"d", b"e"], 4) == (node(node(a, b), node(c, d)),)
    assert merkle_proof([b"a", b"b", b"c", b"d", b"e"], 2) == (d, node(a, b), e)


def test_a_node_does_not_pass_as_a_leaf():
    inner = leaf(b"a") + leaf(b"b")
    assert merkle_root([inner, b"c"]) != ROOT
    with pytest.raises(DigestError):
        check_proof(ROOT, inner, [Digest(leaf(b"c"))], index=0, count=2)


@pytest.mark.parametrize(("index", "count"), [(3, 3), (-1, 3), (0, 0), (2, 4), (1, 3)])
def test_a_proof_holds_only_at_its_place(index, count):
    proof = merkle_proof([b"a", b"b", b"c"], 2)
    with pytest.raises(DigestError):
        check_proof(ROOT, b"c", proof, index=index, count=count)


@pytest.mark.parametrize(("index", "count"), [(3, 3), (-1, 3), (0, 0), (0, -1)])
def test_a_place_outside_the_tree_has_no_leaf(index, count):
    with pytest.raises(DigestError, match=f"leaf {index} cannot stand in a tree of {count} leaves"):
        check_proof(ROOT, b"c", (), index=index, count=count)
    with pytest.raises(AssertionError):
        merkle_proof([b"leaf"] * max(count, 0), index)


def test_a_proof_of_another_length_is_refused():
    proof = merkle_proof([b"a", b"b", b"c"], 0)
    check_proof(ROOT, b"a", proof, index=0, count=3)
    for wrong in (proof[:1], (*proof, proof[0]), (), (proof[0], Digest(proof[1][:31]))):
        with pytest.raises(DigestError, match="form"):
            check_proof(ROOT, b"a", wrong, index=0, count=3)


def test_one_chunk_is_checked_without_the_others():
    content = bytes(range(256)) * 50
    digests = chunk_digests(content, chunk_bytes=1_000)
    root = chunk_root(digests)
    assert len(digests) == 13
    assert chunk_digests(memoryview(content), chunk_bytes=1_000) == digests
    for index in range(13):
        chunk = content[index * 1_000 : (index + 1) * 1_000]
        proof = chunk_proof(digests, index)
        require_chunk(root, chunk, proof, index=index, count=13)
        with pytest.raises(DigestError):
            require_chunk(root, chunk[:-1] + b"\x01", proof, index=index, count=13)
    assert chunk_digests(b"") == ()


def test_require_names_both_digests():
    require(digest(b"right"), b"right")
    require_digest(digest(b"right"), digest(b"right"))
    with pytest.raises(
        DigestError, match=rf"the page is b3:{digest(b'wrong').hex()} where b3:{digest(b'right').hex()}"
    ):
        require(digest(b"right"), b"wrong", what="the page")
    with pytest.raises(DigestError):
        require(Digest(b""), b"")
    assert equal(b"a", b"a")
    assert not equal(b"a", b"b")
