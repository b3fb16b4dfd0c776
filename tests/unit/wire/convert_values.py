"""Any value that travels, as hypothesis strategies derived from its type."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from enum import Enum
from types import NoneType, UnionType
from typing import Any, NewType, Union, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from corpgrid.domain.device import Device
from corpgrid.domain.ids import Digest
from corpgrid.domain.messages import Batch
from corpgrid.wire.convert import encode_batch

_PLAIN = {
    bool: st.booleans(),
    int: st.integers(0, 2**31 - 1),
    float: st.floats(0, 1e15),
    str: st.text(st.characters(codec="utf-8"), max_size=12),
    bytes: st.binary(max_size=24),
}
_DIGESTS = st.binary(min_size=32, max_size=32)


def values(hint: Any, *, optional_digest: bool = False) -> st.SearchStrategy[Any]:
    """Values of a type."""
    if hint is Digest:
        return _DIGESTS | st.just(b"") if optional_digest else _DIGESTS
    if isinstance(hint, NewType):
        return values(hint.__supertype__)
    if hint in _PLAIN:
        return _PLAIN[hint]
    if get_origin(hint) is not None:
        return _generic(get_origin(hint), get_args(hint))
    if issubclass(hint, Enum):
        return st.sampled_from(list(hint))
    return _record(hint)


def _generic(origin: Any, args: tuple[Any, ...]) -> st.SearchStrategy[Any]:
    if origin in {Union, UnionType}:
        (kind,) = [arg for arg in args if arg is not NoneType]
        return st.none() | values(kind)
    if origin is list:
        return st.lists(values(args[0]), max_size=4)
    if origin is tuple and args[-1] is Ellipsis:
        return st.lists(values(args[0]), max_size=4).map(tuple)
    if origin is tuple:
        return st.tuples(*(values(arg) for arg in args))
    assert origin is Mapping, origin
    return st.dictionaries(values(args[0]), values(args[1]), max_size=4)


def _record(kind: type) -> st.SearchStrategy[Any]:
    hints = get_type_hints(kind)
    if dataclasses.is_dataclass(kind):
        defaults = {field.name: field.default for field in dataclasses.fields(kind)}
    else:
        defaults = kind._field_defaults
    made = {name: values(hint, optional_digest=defaults.get(name) == b"") for name, hint in hints.items()}
    if kind is Device:
        made["session"] = st.just(b"")  # never travels
    if kind is Batch:
        made |= {"content": st.just(b""), "digests": st.just(())}  # the one is made, the other never travels
        return st.builds(kind, **made).map(encode_batch)
    return st.builds(kind, **made)
