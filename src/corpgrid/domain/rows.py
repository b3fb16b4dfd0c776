"""Rows as they change: ``changed`` is ``dataclasses.replace`` for the grid's rows, three times as fast.

A tick makes a new row of each job and device that it touches; for a tick with one event that was a quarter of its time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar

__all__ = ["changed"]

Row = TypeVar("Row")
Setter = Callable[[object, object], None]


@cache
def _columns(kind: type) -> tuple[Mapping[str, Setter], Callable[[Any], tuple[object, ...]]]:
    """How to write each column of a row, and how to read them all, in the same order."""
    assert not hasattr(kind, "__post_init__"), kind  # it would not be called
    names = [field.name for field in fields(kind)]
    return {name: getattr(kind, name).__set__ for name in names}, attrgetter(*names)


def _changed(row: Row, **columns: object) -> Row:
    """The row, a frozen dataclass with slots, but for these columns."""
    kind: type = type(row)
    setters, read = _columns(kind)
    new: Row = object.__new__(kind)
    for put, value in zip(setters.values(), read(row), strict=True):
        put(new, value)
    for name, value in columns.items():
        setters[name](new, value)
    return new


if TYPE_CHECKING:
    from dataclasses import replace as changed  # of it a type checker knows which columns there are, and of what type
else:
    changed = _changed
