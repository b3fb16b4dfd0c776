"""The ledger: the audit log as a Merkle log (``log_tree``) that nobody can change unnoticed.

    entries --(each second: ``seal``)--> leaves of the tree, and a signed checkpoint over all so far

Rules:
* An entry has one spelling, canonical JSON.  The hash of that is its leaf; its place in the tree is its **position**,
  from 0, given when it is sealed and never again.
* Each seal ends with a checkpoint.  Whoever keeps one can tell later whether the log still begins with what it stood
  for; two that do not fit are evidence against who signed them.
* Of the tree the roots over each 256, 65,536 ... entries are kept with the leaves (``STRIDE``): any proof is made of a
  few hundred hashes, however long the log is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from corpgrid.domain.effects import AuditEntry
from corpgrid.errors import MalformedDataError
from corpgrid.trust import canonical
from corpgrid.trust.checkpoint import Checkpoint, sign_checkpoint
from corpgrid.trust.keys import PrivateKey
from corpgrid.trust.log_tree import HASH_BYTES, Frontier, Nodes, leaf_hash, node_hash

STRIDE = 8
"""Levels from one that is kept to the next; the lowest are the leaves."""
_BLOCK = 1 << STRIDE
_FIELDS = {"actor", "at", "detail", "kind", "subject"}


class Node(NamedTuple):
    """A kept hash: the root over the entries from ``place << level`` to ``(place + 1) << level``."""

    level: int
    place: int
    hash: bytes


class Seal(NamedTuple):
    """What is written when entries are sealed.

    Attributes:
        first: the position of the first.
        nodes: their leaves (level 0), and what they made full above (levels 8, 16 ...).
        frontier: of the tree with them.
        note: the signed checkpoint.
    """

    first: int
    nodes: tuple[Node, ...]
    frontier: Frontier
    note: bytes


class Span(NamedTuple):
    """Kept hashes of one level that follow each other."""

    level: int
    first: int
    count: int  # type: ignore[assignment]  # a field here, not the method of tuples


def origin_of(grid: str) -> str:
    """The name of a grid's ledger, in its checkpoints."""
    return f"corpgrid/{grid}"


def encode_entry(entry: AuditEntry) -> bytes:
    """The one spelling of an entry."""
    return canonical.encode(
        {
            "actor": entry.actor,
            "at": float(entry.at),
            "detail": entry.detail,
            "kind": entry.kind,
            "subject": entry.subject,
        }
    )


def decode_entry(content: bytes) -> AuditEntry:
    """Read it again.

    Raises:
        MalformedDataError: these bytes are no entry.
    """
    fields = canonical.decode(content)
    if not isinstance(fields, dict) or set(fields) != _FIELDS or not isinstance(fields["at"], float):
        raise MalformedDataError("the JSON is no entry of a ledger: actor, at, detail, kind and subject")
    if not all(isinstance(value, str) for name, value in fields.items() if name != "at"):
        raise MalformedDataError("a field of the ledger's entry is no text")
    return AuditEntry(**fields)


def seal(frontier: Frontier, entries: Iterable[AuditEntry], *, origin: str, key: PrivateKey) -> Seal:
    """Put entries behind the log that ``frontier`` stands for, and sign what it is now."""
    nodes: list[Node] = []
    grown = _grow(frontier, [leaf_hash(encode_entry(entry)) for entry in entries], 0, nodes)
    note = sign_checkpoint(Checkpoint(origin, grown.size, grown.root()), key)
    return Seal(frontier.size, tuple(nodes), grown, note)


def spans(make: Callable[[Nodes], object]) -> list[Span]:
    """The kept hashes that are needed to make a proof: ``make`` is the call of ``log_tree`` without its nodes."""
    wanted: dict[Span, None] = {}

    def ask(level: int, place: int) -> bytes:
        wanted[_span(level, place)] = None
        return bytes(HASH_BYTES)

    make(ask)
    return list(wanted)


def nodes_of(found: Mapping[Span, Sequence[bytes]]) -> Nodes:
    """Nodes for the same call, from what was kept."""

    def node(level: int, place: int) -> bytes:
        hashes = list(found[_span(level, place)])
        while len(hashes) > 1:
            hashes = [node_hash(*pair) for pair in zip(hashes[::2], hashes[1::2], strict=True)]
        return hashes[0]

    return node


def _span(level: int, place: int) -> Span:
    above = level % STRIDE
    return Span(level - above, place << above, 1 << above)


def _grow(frontier: Frontier, hashes: Sequence[bytes], level: int, kept: list[Node]) -> Frontier:
    """The tree with these hashes of one level behind it; what is kept of them and above is added to ``kept``.

    A tree is one of full blocks, each of which counts as a leaf of it, and a block that is not yet full.
    """
    kept.extend(Node(level, frontier.size + place, node) for place, node in enumerate(hashes))
    blocks = frontier.size >> STRIDE
    above = Frontier(blocks, frontier.roots[: blocks.bit_count()])
    block = Frontier(frontier.size % _BLOCK, frontier.roots[blocks.bit_count() :])
    full, start = [], 0
    while start < len(hashes):
        end = start + _BLOCK - block.size
        block = block.extend_leaves(hashes[start:end])
        if block.size == _BLOCK:
            full.append(block.root())
            block = Frontier()
        start = end
    if full:
        above = _grow(above, full, level + STRIDE, kept)
    return Frontier(above.size << STRIDE | block.size, above.roots + block.roots)
