"""When two results are the same, as pure functions of their bytes and a comparator.

* **bytes**: every byte.  Nothing is decoded.
* **json**: the same structure.  Numbers are exact (``1`` and ``1.0`` are one number, ``0.1`` and ``0.10`` too); the
  order of keys does not matter; where both results are texts that hold JSON, what they hold is compared.
* **text**: the same, but for line endings, white space at the ends of lines, empty lines at the end, and Unicode's
  several ways to write one letter (NFC).
* **float**: the same structure, shapes and kinds of numbers, with NaN and infinities in the same positions.  Every
  other float agrees within ``atol + rtol x the larger of the two``, AND all floats of an array together within
  ``relative_l2`` of its norm (plus ``atol`` an element), so that no liar can lean on every element a little.  The lone
  floats of a result count as one array.  Everything that is not a float is exact.

What cannot be decoded is not the same as anything, itself included.  Agreement within a tolerance is not transitive, so
of several results the **medoid** stands: the one that agrees with most, among these the one closest to those that it
agrees with.  A change of what counts as the same is a new ``VERSION``.
"""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

from corpgrid.domain.job import Comparator, ComparatorKind
from corpgrid.errors import DataError

VERSION = 1

Decode = Callable[[bytes], Any]

_DIFFERENT = math.inf
_SAME = 0.0


class Agreement(NamedTuple):
    """Results that agree with one of them.

    Attributes:
        medoid: position of that one.
        matches: positions of all that agree with it, itself included, rising.
    """

    medoid: int
    matches: tuple[int, ...]


class _Answer(NamedTuple):
    """A result, and what it says."""

    content: bytes
    readable: bool = True
    value: Any = None


def same(comparator: Comparator, one: bytes, two: bytes, *, decode: Decode) -> bool:
    """Whether two encoded results are the same.

    Args:
        comparator: how they are compared.
        one: a result as its device encoded it.
        two: another.
        decode: reads a result; raises ``DataError`` if it cannot.
    """
    return distance(comparator, one, two, decode=decode) < _DIFFERENT


def distance(comparator: Comparator, one: bytes, two: bytes, *, decode: Decode) -> float:
    """How far apart two encoded results are: 0 where nothing differs, infinity where they are not the same."""
    first = _read(comparator, one, decode)
    return _between(comparator, first, first if one == two else _read(comparator, two, decode))


def canonical(
    results: Sequence[bytes], comparator: Comparator, *, min_matches: int, decode: Decode
) -> Agreement | None:
    """The medoid of several results, if at least ``min_matches`` of them (itself included) agree with it.

    Which result is chosen depends on what was answered, never on the order of the answers.
    """
    assert min_matches >= 1, min_matches
    answers = [_read(comparator, result, decode) for result in results]
    table = [[_between(comparator, one, two) for two in answers] for one in answers]
    medoid = min(range(len(results)), key=lambda i: (*_standing(table[i]), results[i]), default=-1)
    matches = tuple(j for j in range(len(results)) if table[medoid][j] < _DIFFERENT)
    return Agreement(medoid, matches) if len(matches) >= min_matches else None


def _read(comparator: Comparator, content: bytes, decode: Decode) -> _Answer:
    if comparator.kind is ComparatorKind.BYTES:
        return _Answer(content)
    try:
        return _Answer(content, value=decode(content))
    except DataError:
        return _Answer(content, readable=False)


def _between(comparator: Comparator, one: _Answer, two: _Answer) -> float:
    if not (one.readable and two.readable):
        return _DIFFERENT
    if one.content == two.content:
        return _SAME
    try:
        return value_distance(comparator, one.value, two.value)
    except RecursionError:  # texts may hold JSON that is nested without end
        return _DIFFERENT


def value_distance(comparator: Comparator, one: Any, two: Any) -> float:
    """``distance`` between two decoded values."""
    match comparator.kind:
        case ComparatorKind.JSON:
            alike = equal(*_parsed(one, two))
        case ComparatorKind.TEXT:
            alike = equal(one, two, text=normal_text)
        case ComparatorKind.FLOAT:
            return _float_distance(comparator, one, two)
        case ComparatorKind.BYTES:
            alike = False
    return _SAME if alike else _DIFFERENT


def _standing(row: Sequence[float]) -> tuple[int, float]:
    """More matches first, then the nearer ones; ``fsum`` is exact, so that the order of the answers cannot matter."""
    near = [value for value in row if value < _DIFFERENT]
    return -len(near), math.fsum(near)


# -- structures


def equal(one: Any, two: Any, *, text: Callable[[str], str] = str) -> bool:
    """Whether two decoded values have the same structure and the same leaves, texts being the same under ``text``."""
    match one, two:
        case (str(), str()):
            return text(one) == text(two)
        case (dict(), dict()):
            return _equal_dicts(one, two, text)
        case (list() | tuple(), list() | tuple()):
            return len(one) == len(two) and all(equal(a, b, text=text) for a, b in zip(one, two, strict=True))
        case _:
            return _equal_leaves(one, two)


def _equal_leaves(one: Any, two: Any) -> bool:
    if _is_array(one) or _is_array(two):
        return _is_array(one) and _is_array(two) and _equal_arrays(one, two)
    if isinstance(one, bool | None) or isinstance(two, bool | None):
        return one is two
    if isinstance(one, complex) and isinstance(two, complex):
        return _equal_leaves(one.real, two.real) and _equal_leaves(one.imag, two.imag)
    return bool(one == two) or (_is_nan(one) and _is_nan(two))


def _equal_dicts(one: dict[Any, Any], two: dict[Any, Any], text: Callable[[str], str]) -> bool:
    if len(one) != len(two):
        return False
    return all(key in two and equal(value, two[key], text=text) for key, value in one.items())


def _equal_arrays(one: Any, two: Any) -> bool:
    return bool(one.dtype == two.dtype and one.shape == two.shape and one.tobytes() == two.tobytes())


def _is_array(value: Any) -> bool:
    """Whether it is a NumPy array or scalar, asked without NumPy."""
    return hasattr(value, "dtype")


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def normal_text(text: str) -> str:
    """The text with line endings, white space at line ends, empty lines at its end and letters written in one way."""
    lines = unicodedata.normalize("NFC", text).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return "\n".join(line.rstrip() for line in lines).rstrip("\n")


def _parsed(one: Any, two: Any) -> tuple[Any, Any]:
    """What two texts hold as JSON, or the values as they are."""
    if not (isinstance(one, str) and isinstance(two, str)):
        return one, two
    try:
        return json.loads(one, parse_float=Decimal), json.loads(two, parse_float=Decimal)
    except (ValueError, RecursionError, InvalidOperation):
        return one, two


# -- floats


def _float_distance(comparator: Comparator, one: Any, two: Any) -> float:
    """The largest relative distance between two arrays in the same place of two structures."""
    lone: list[tuple[complex, complex]] = []
    arrays: list[tuple[Any, Any]] = []
    if not _pair(one, two, lone, arrays):
        return _DIFFERENT
    if lone:
        arrays.append(_as_arrays(lone))
    return max((_array_distance(comparator, a, b) for a, b in arrays), default=_SAME)


def _pair(one: Any, two: Any, lone: list[tuple[complex, complex]], arrays: list[tuple[Any, Any]]) -> bool:
    """Collect the floats in the same places of two structures; False if anything else differs."""
    match one, two:
        case (dict(), dict()):
            return len(one) == len(two) and all(
                key in two and _pair(value, two[key], lone, arrays) for key, value in one.items()
            )
        case (list() | tuple(), list() | tuple()):
            return len(one) == len(two) and all(_pair(a, b, lone, arrays) for a, b in zip(one, two, strict=True))
        case _ if _is_array(one) and _is_array(two):
            return _pair_arrays(one, two, arrays)
        case (float(), float()) | (complex(), complex()):
            lone.append((one, two))
            return True
        case _:
            return type(one) is type(two) and equal(one, two)


def _pair_arrays(one: Any, two: Any, arrays: list[tuple[Any, Any]]) -> bool:
    if one.dtype.kind != two.dtype.kind or one.shape != two.shape:
        return False
    if one.dtype.kind in "fc":
        arrays.append((one, two))
        return True
    if one.dtype.kind in "iu":
        return bool((one == two).all())  # widths differ between operating systems, values must not
    return _equal_arrays(one, two)


def _as_arrays(pairs: list[tuple[complex, complex]]) -> tuple[Any, Any]:
    import numpy as np  # noqa: PLC0415 - only where floats are compared

    return np.array([one for one, _ in pairs]), np.array([two for _, two in pairs])


def _array_distance(comparator: Comparator, one: Any, two: Any) -> float:
    """The distance in norm, relative to the larger of two arrays of the same shape, or infinity."""
    import numpy as np  # noqa: PLC0415 - only where floats are compared

    with np.errstate(all="ignore"):  # what overflows is infinite, and infinite is too much
        wide = np.result_type(one, two, np.float64)
        one, two = np.asarray(one, wide), np.asarray(two, wide)
        finite = np.isfinite(one)
        if not (np.array_equal(finite, np.isfinite(two)) and _equal_parts(np, one[~finite], two[~finite])):
            return _DIFFERENT
        one, two = one[finite], two[finite]
        larger, gap = np.maximum(abs(one), abs(two)), abs(one - two)
        if (gap > comparator.atol + comparator.rtol * larger).any():
            return _DIFFERENT
        scale = larger.max(initial=0.0)
        if scale == 0.0:
            return _SAME
        # Both norms are taken over the largest element, so that no square can overflow or vanish.
        norm, far = max(_norm(one / scale), _norm(two / scale)), _norm(gap / scale)
        allowed = comparator.relative_l2 * norm + comparator.atol / scale * math.sqrt(one.size)
    return far / norm if far <= allowed else _DIFFERENT


def _equal_parts(np: Any, one: Any, two: Any) -> bool:
    """Whether arrays of NaN and infinities are the same, real and imaginary parts each."""
    return bool(
        np.array_equal(one.real, two.real, equal_nan=True) and np.array_equal(one.imag, two.imag, equal_nan=True)
    )


def _norm(array: Any) -> float:
    return math.sqrt(float((abs(array) ** 2).sum()))
