"""BLAKE3 digests, and Merkle trees over them.

* A digest is 32 bytes.  Digests are compared in constant time, here and nowhere else.
* A tree has the shape of RFC 6962: ``leaf = H(0x00 || content)``, ``node = H(0x01 || left || right)``, and the left
  half of ``n`` leaves is the largest power of two below ``n``.  The prefixes keep a node from passing as a leaf.  The
  root of no leaves is the digest of nothing.
* A proof shows that one leaf stands at one place of a tree with a known number of leaves; it grows with the logarithm.
* Large blobs are cut into chunks of ``CHUNK_BYTES``: each chunk has its own digest, and the tree over these digests
  has a root, so that one chunk can be checked without the others.

``merkle_root`` is on the path of every result, and is therefore a plain loop over levels.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Sequence

from blake3 import blake3

from corpgrid.domain.ids import DIGEST_BYTES, Digest, digest_text
from corpgrid.errors import DigestError

Content = bytes | bytearray | memoryview

CHUNK_BYTES = 1 << 20
_LEAF = b"\x00"
_NODE = b"\x01"


def digest(content: Content) -> Digest:
    """The name of these bytes."""
    return Digest(blake3(content).digest())


def digests(contents: Iterable[Content]) -> list[Digest]:
    """The names of all of these; for many small ones in half the time that ``digest`` takes for each."""
    hasher = blake3()  # one for all: making it costs as much as a short content does
    found: list[Digest] = []
    for content in contents:
        hasher.update(content)
        found.append(Digest(hasher.digest()))
        hasher.reset()
    return found


class Hasher:
    """The digest of bytes that come piece by piece.

    >>> hasher = Hasher()
    >>> hasher.update(b"ab")
    >>> hasher.update(b"c")
    >>> hasher.digest() == digest(b"abc")
    True
    """

    __slots__ = ("_hash",)

    def __init__(self) -> None:
        self._hash = blake3()

    def update(self, content: Content) -> None:
        """Take the next bytes."""
        self._hash.update(content)

    def digest(self) -> Digest:
        """Of all bytes so far; more may follow."""
        return Digest(self._hash.digest())


def equal(left: bytes, right: bytes) -> bool:
    """Whether two digests are the same; the time it takes does not tell where they differ."""
    return hmac.compare_digest(left, right)


def require(expected: Digest, content: Content, *, what: str = "content") -> None:
    """Check that bytes are the bytes that were named.

    Raises:
        DigestError: they are not.
    """
    require_digest(expected, digest(content), what=what)


def require_digest(expected: Digest, got: Digest, *, what: str = "content") -> None:
    """Check a digest that a ``Hasher`` made.

    Raises:
        DigestError: it is not the expected one.
    """
    if not equal(expected, got):
        raise DigestError(f"{what} is {digest_text(got)} where {digest_text(expected)} was named")


def merkle_root(leaves: Sequence[bytes]) -> Digest:
    """The root of the tree over these leaves."""
    if not leaves:
        return digest(b"")
    level = _leaf_digests(leaves)
    while len(level) > 1:
        level = _next_level(level)
    return level[0]


def merkle_proof(leaves: Sequence[bytes], index: int) -> tuple[Digest, ...]:
    """The siblings on the way from leaf ``index`` to the root, nearest first."""
    assert 0 <= index < len(leaves)
    level = _leaf_digests(leaves)
    proof: list[Digest] = []
    while len(level) > 1:
        sibling = index ^ 1
        if sibling < len(level):
            proof.append(level[sibling])
        level = _next_level(level)
        index >>= 1
    return tuple(proof)


def check_proof(root: Digest, leaf: bytes, proof: Sequence[Digest], *, index: int, count: int) -> None:
    """Check that ``leaf`` stands at ``index`` among the ``count`` leaves under ``root``.

    Raises:
        DigestError: it does not, or the proof has not the length that this place has.
    """
    if not 0 <= index < count:
        raise DigestError(f"leaf {index} cannot stand in a tree of {count} leaves")
    if len(proof) != _proof_length(index, count) or any(len(step) != DIGEST_BYTES for step in proof):
        raise DigestError(f"the proof of leaf {index} of {count} has not the form of one")
    if not equal(root, _climb(leaf, proof, index, count)):
        raise DigestError(f"leaf {index} of {count} does not stand under root {digest_text(root)}")


def chunk_digests(content: Content, *, chunk_bytes: int = CHUNK_BYTES) -> tuple[Digest, ...]:
    """The digest of each chunk, in order; the last chunk may be shorter, and empty content has no chunk."""
    view = memoryview(content).cast("B")
    return tuple(digest(view[start : start + chunk_bytes]) for start in range(0, len(view), chunk_bytes))


def chunk_root(digests: Sequence[Digest]) -> Digest:
    """The root of the tree over the digests of chunks."""
    return merkle_root(digests)


def chunk_proof(digests: Sequence[Digest], index: int) -> tuple[Digest, ...]:
    """What ``require_chunk`` needs beside the chunk itself."""
    return merkle_proof(digests, index)


def require_chunk(root: Digest, chunk: Content, proof: Sequence[Digest], *, index: int, count: int) -> None:
    """Check one chunk of ``count`` against the root, without the others.

    Raises:
        DigestError: it is not that chunk.
    """
    check_proof(root, digest(chunk), proof, index=index, count=count)


def _leaf_digests(leaves: Sequence[bytes]) -> list[Digest]:
    return digests([_LEAF + leaf for leaf in leaves])


def _next_level(level: list[Digest]) -> list[Digest]:
    """Pairs become nodes; a last one without a partner moves up as it is, which gives the shape of RFC 6962."""
    above = digests([_NODE + left + right for left, right in zip(level[::2], level[1::2], strict=False)])
    if len(level) % 2:
        above.append(level[-1])
    return above


def _proof_length(index: int, count: int) -> int:
    """Levels in which the node above leaf ``index`` has a sibling."""
    length = 0
    while count > 1:
        length += (index ^ 1) < count
        index, count = index >> 1, (count + 1) >> 1
    return length


def _climb(leaf: bytes, proof: Sequence[Digest], index: int, count: int) -> bytes:
    """The root that ``proof`` leads to."""
    here = blake3(_LEAF + leaf).digest()
    steps = iter(proof)
    while count > 1:
        if index % 2:
            here = blake3(_NODE + next(steps) + here).digest()
        elif index + 1 < count:
            here = blake3(_NODE + here + next(steps)).digest()
        index, count = index >> 1, (count + 1) >> 1
    return here
