"""The Merkle tree of an append-only log: RFC 6962, section 2.1, with the proofs of RFC 9162, section 2.1.

Rules:
* SHA-256; a leaf is hashed behind a 0 byte, two nodes behind a 1 byte, so that neither can pass for the other.
* A log grows by its ``Frontier``: the roots of the perfect subtrees that its size is made of, one for each bit that is
  set.  That is all that a writer keeps, and all that whoever reads the log from its beginning needs.
* An inclusion proof says that an entry stands where it is said to stand; a consistency proof, that a later tree is an
  earlier one with entries behind it: nothing was changed, left out, or put between.
* Proofs are made of ``Nodes``, which knows the root of every perfect subtree; they are checked with nothing but the
  roots that are believed.  Neither has more steps than twice the bits of the size.

>>> a, b, c = map(leaf_hash, (b"a", b"b", b"c"))
>>> Frontier().extend([b"a", b"b", b"c"]).root() == node_hash(node_hash(a, b), c)
True
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from typing import NamedTuple

from corpgrid.errors import DigestError, MalformedDataError

HASH_BYTES = 32
EMPTY_ROOT = sha256(b"").digest()
_LEAF, _NODE = b"\x00", b"\x01"

Nodes = Callable[[int, int], bytes]
"""``nodes(level, place)``: the root over the leaves from ``place << level`` to ``(place + 1) << level``, all there."""


def leaf_hash(entry: bytes) -> bytes:
    """Of one entry."""
    return sha256(_LEAF + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Of two subtrees."""
    return sha256(_NODE + left + right).digest()


class Frontier(NamedTuple):
    """What is needed of a tree to let it grow, and to know its root.

    Attributes:
        size: entries in it.
        roots: of the perfect subtrees that it is made of, the largest first.
    """

    size: int = 0
    roots: tuple[bytes, ...] = ()

    def extend(self, entries: Iterable[bytes]) -> Frontier:
        """The tree with these entries behind all others."""
        return self.extend_leaves(map(leaf_hash, entries))

    def extend_leaves(self, leaves: Iterable[bytes]) -> Frontier:
        """The same from the hashes of entries."""
        size, roots = self.size, list(self.roots)
        for leaf in leaves:
            node, pairs = leaf, size
            while pairs & 1:
                node = sha256(_NODE + roots.pop() + node).digest()
                pairs >>= 1
            roots.append(node)
            size += 1
        return Frontier(size, tuple(roots))

    def root(self) -> bytes:
        """Of the whole tree."""
        if not self.roots:
            return EMPTY_ROOT
        node = self.roots[-1]
        for left in reversed(self.roots[:-1]):
            node = node_hash(left, node)
        return node

    def encode(self) -> bytes:
        """As bytes, to be stored: the size in eight, then the roots."""
        return self.size.to_bytes(8, "big") + b"".join(self.roots)

    @classmethod
    def decode(cls, content: bytes) -> Frontier:
        """What ``encode`` wrote.

        Raises:
            MalformedDataError: it did not write these bytes.
        """
        size, rest = int.from_bytes(content[:8], "big"), content[8:]
        if len(content) < 8 or len(rest) != HASH_BYTES * size.bit_count():
            raise MalformedDataError(f"{len(content)} bytes are no frontier of a log of {size:,} entries")
        return cls(size, tuple(rest[start : start + HASH_BYTES] for start in range(0, len(rest), HASH_BYTES)))


def inclusion_proof(nodes: Nodes, index: int, size: int) -> tuple[bytes, ...]:
    """That the entry at ``index`` is in the tree of ``size`` entries: siblings, nearest first."""
    assert 0 <= index < size
    start, end, proof = 0, size, list[bytes]()
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            proof.append(_root_of(nodes, middle, end))
            end = middle
        else:
            proof.append(_root_of(nodes, start, middle))
            start = middle
    return tuple(reversed(proof))


def consistency_proof(nodes: Nodes, earlier: int, size: int) -> tuple[bytes, ...]:
    """That the tree of ``size`` entries begins with the one of ``earlier``."""
    assert 0 <= earlier <= size
    if earlier == 0:
        return ()  # every tree begins with the empty one
    start, end, proof = 0, size, list[bytes]()
    while earlier != end:
        middle = start + _split(end - start)
        if earlier <= middle:
            proof.append(_root_of(nodes, middle, end))
            end = middle
        else:
            proof.append(_root_of(nodes, start, middle))
            start = middle
    if start:
        proof.append(_root_of(nodes, start, end))
    return tuple(reversed(proof))


def root_of_first(nodes: Nodes, size: int) -> bytes:
    """The root of the tree as it was with its first ``size`` entries."""
    return _root_of(nodes, 0, size) if size else EMPTY_ROOT


def check_inclusion(root: bytes, leaf: bytes, proof: Sequence[bytes], *, index: int, size: int) -> None:
    """Check that an entry with this ``leaf_hash`` stands at ``index`` of the tree with this root.

    Raises:
        DigestError: it does not.
    """
    if not 0 <= index < size:
        raise DigestError(f"entry {index:,} cannot stand in a log of {size:,}")
    place, last, node = index, size - 1, leaf
    for step in proof:
        if last == 0:
            raise DigestError(f"the proof of entry {index:,} of {size:,} has too many steps")
        if place & 1 or place == last:
            node = node_hash(step, node)
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            node = node_hash(node, step)
        place, last = place >> 1, last >> 1
    if last or node != root:
        raise DigestError(f"entry {index:,} of {size:,} is not the one that the log's root stands for")


def check_consistency(earlier_root: bytes, root: bytes, proof: Sequence[bytes], *, earlier: int, size: int) -> None:
    """Check that the tree of ``size`` entries begins with the one of ``earlier``.

    Raises:
        DigestError: it does not: what was in the log was changed, left out, or put between.
    """
    if not _begins_with(earlier_root, root, proof, earlier, size):
        raise DigestError(f"the log of {size:,} entries does not begin with the one of {earlier:,} that was seen")


def _begins_with(earlier_root: bytes, root: bytes, proof: Sequence[bytes], earlier: int, size: int) -> bool:
    if not 0 < earlier < size:
        expected = {0: EMPTY_ROOT, size: root}.get(earlier)  # of an empty log the two are one
        return expected == earlier_root and not proof
    # A perfect earlier tree is itself the first step; its root need not be sent.
    steps = [*([earlier_root] if earlier & (earlier - 1) == 0 else []), *proof]
    return bool(steps) and _climb(steps, earlier, size) == (earlier_root, root)


def _climb(steps: Sequence[bytes], earlier: int, size: int) -> tuple[bytes, bytes] | None:
    """The roots of both trees, as these steps have them; None if they are not as many as there must be."""
    place, last = earlier - 1, size - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    before = after = steps[0]
    for step in steps[1:]:
        if last == 0:
            return None
        if place & 1 or place == last:
            before, after = node_hash(step, before), node_hash(step, after)
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            after = node_hash(after, step)
        place, last = place >> 1, last >> 1
    return (before, after) if last == 0 else None


def _split(count: int) -> int:
    """The largest power of two below ``count``."""
    return 1 << ((count - 1).bit_length() - 1)


def _root_of(nodes: Nodes, start: int, end: int) -> bytes:
    """The root over a range that begins at a multiple of the power of two that holds it."""
    lefts = list[bytes]()
    while (end - start) & (end - start - 1):
        middle = start + _split(end - start)
        lefts.append(nodes((middle - start).bit_length() - 1, start >> ((middle - start).bit_length() - 1)))
        start = middle
    level = (end - start).bit_length() - 1
    node = nodes(level, start >> level)
    for left in reversed(lefts):
        node = node_hash(left, node)
    return node
