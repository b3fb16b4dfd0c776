"""Spans: keys that follow each other without a gap, as the first and the last of them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import compress, count, islice, pairwise
from operator import ne, sub
from typing import NamedTuple, Protocol


class Span(NamedTuple):
    """Keys from the first to the last."""

    first: int
    last: int


class Spanning(Protocol):
    """Whatever has a first and a last key."""

    @property
    def first(self) -> int:
        """The lowest key."""

    @property
    def last(self) -> int:
        """The highest key."""


def spans(keys: Sequence[int]) -> list[Span]:
    """Keys, which rise, as spans."""
    return [Span(keys[start], keys[end - 1]) for start, end in _parts(_gaps(keys), len(keys))]


def ends(parts: Iterable[Span]) -> tuple[list[int], list[int]]:
    """The first keys of spans, and the last."""
    firsts, lasts = [], []
    for first, last in parts:
        firsts.append(first)
        lasts.append(last)
    return firsts, lasts


def within(keys: Sequence[int], span: Spanning) -> Sequence[int]:
    """Those of the keys, which rise, that are in a span."""
    return keys[bisect_left(keys, span.first) : bisect_right(keys, span.last)]


def rest(span: Spanning, taken: Iterable[Spanning]) -> Iterator[Span]:
    """What is left of a span without others, which rise."""
    first = span.first
    for other in taken:
        if first < other.first:
            yield Span(first, other.first - 1)
        first = other.last + 1
    if first <= span.last:
        yield Span(first, span.last)


def alike(keys: Sequence[int], *columns: Sequence[object]) -> Iterator[tuple[int, int]]:
    """Where the parts of rows begin and end whose keys, which rise, have no gap and whose columns do not change.

    This looks at every row that a tick writes, so the loops are those of the interpreter itself.
    """
    breaks = set(_gaps(keys))
    for column in columns:
        breaks.update(compress(count(1), map(ne, column, islice(column, 1, None))))
    return _parts(sorted(breaks), len(keys))


def _gaps(keys: Sequence[int]) -> Iterable[int]:
    """The places of keys before which some are missing."""
    if not keys or keys[-1] - keys[0] == len(keys) - 1:
        return ()
    return compress(count(1), map((1).__ne__, map(sub, islice(keys, 1, None), keys)))


def _parts(breaks: Iterable[int], length: int) -> Iterator[tuple[int, int]]:
    return pairwise([0, *breaks, length]) if length else iter(())
