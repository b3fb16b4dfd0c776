"""Canonical JSON: one value, one encoding, so that signed bytes mean one thing to everybody.

* Keys sorted by code point, no spaces, UTF-8 as it is, integers within 64 bits, no NaN and no infinity.
* ``decode`` takes only what ``encode`` writes: other layout, a key twice, ``1.50`` for ``1.5`` or an escape where none
  is needed is refused, and so are depth and size beyond the limits.

>>> encode({"b": 1, "a": [True, None, 1.5]})
b'{"a":[true,null,1.5],"b":1}'
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from typing import Any, NoReturn

from corpgrid.errors import MalformedDataError, NotDataError
from corpgrid.trust.limits import MAX_JSON_BYTES, MAX_JSON_DEPTH, MAX_WHOLE

Json = Any
"""None, bool, int, float, str, list and dict with str keys, nested."""

_SURROGATE = re.compile("[\ud800-\udfff]")
_TEXT = frozenset({str})


def encode(value: Json, *, max_depth: int = MAX_JSON_DEPTH) -> bytes:
    """The one encoding of a value.

    Raises:
        NotDataError: something in it has no canonical form; the message names its place.
    """
    if not _is_plain((value,), max_depth):
        _check(value, "the value", max_depth)
    return _ENCODER.encode(value).encode()


def decode(content: bytes, *, max_bytes: int = MAX_JSON_BYTES, max_depth: int = MAX_JSON_DEPTH) -> Json:
    """Read what ``encode`` wrote.

    Raises:
        MalformedDataError: the bytes are not canonical JSON, or are beyond a limit; the message says why.
    """
    if len(content) > max_bytes:
        raise MalformedDataError(f"{len(content):,} bytes of JSON where {max_bytes:,} are allowed")
    value = _parse(content)
    try:
        again = encode(value, max_depth=max_depth)
    except NotDataError as cause:
        raise MalformedDataError(str(cause)) from None
    if again != content:
        raise MalformedDataError(f"the JSON is not canonical from byte {_first_difference(again, content)} on")
    return value


def _parse(content: bytes) -> Json:
    try:
        return _DECODER.decode(content.decode())
    except RecursionError:
        raise MalformedDataError("the JSON is nested too deeply") from None
    except ValueError as cause:  # also JSONDecodeError, UnicodeDecodeError, and integers too long for Python
        raise MalformedDataError(f"the bytes are not JSON: {cause}") from None


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise MalformedDataError(f"the key {twice!r} stands twice in one JSON object")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise MalformedDataError(f"{name} has no place in canonical JSON")


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse_constant)


def _is_plain(entries: Iterable[Json], depth: int) -> bool:
    """Whether all of it has a canonical form, in JSON's own types; what is not may have one all the same.

    Every signed record goes through here, twice on its way in: so scalars are looked at in place, one call a container.
    """
    for entry in entries:
        kind = type(entry)
        if kind is str:
            fits = _is_unicode(entry)
        elif kind is dict:
            fits = _TEXT.issuperset(map(type, entry)) and _is_unicode("".join(entry))
            fits = fits and depth > 0 and _is_plain(entry.values(), depth - 1)
        elif kind is list or kind is tuple:
            fits = depth > 0 and _is_plain(entry, depth - 1)
        elif kind is int:
            fits = -MAX_WHOLE <= entry <= MAX_WHOLE
        else:
            fits = entry is None or kind is bool or (kind is float and math.isfinite(entry))
        if not fits:
            return False
    return True


def _is_unicode(text: str) -> bool:
    return text.isascii() or _SURROGATE.search(text) is None


def _check(value: Json, where: str, depth: int) -> None:
    """Raise NotDataError, with its place, if something has no canonical form."""
    if depth < 0:
        raise NotDataError(f"{where} is nested too deeply")
    if isinstance(value, dict):
        for name, entry in value.items():
            _check_key(name, where)
            _check(entry, f"{where}.{name}", depth - 1)
    elif isinstance(value, list | tuple):
        for position, entry in enumerate(value):
            _check(entry, f"{where}[{position}]", depth - 1)
    else:
        _check_scalar(value, where)


def _check_key(name: object, where: str) -> None:
    if not isinstance(name, str):
        raise NotDataError(f"{where} has the key {name!r}, which is not text")
    _check_scalar(name, where)


def _check_scalar(value: Json, where: str) -> None:
    match value:
        case None | bool():
            return
        case str():
            if not _is_unicode(value):
                raise NotDataError(f"{where} holds text that is not Unicode")
        case int():
            if not -MAX_WHOLE <= value <= MAX_WHOLE:
                raise NotDataError(f"{where} is an integer beyond 64 bits")
        case float():
            if not math.isfinite(value):
                raise NotDataError(f"{where} is {value}")
        case _:
            raise NotDataError(f"{where} is of type {type(value).__name__}")


def _first_difference(left: bytes, right: bytes) -> int:
    pairs = enumerate(zip(left, right, strict=False))
    return next((place for place, (one, other) in pairs if one != other), min(len(left), len(right)))
