"""The ``[items]`` of a job file: exactly one of five ways to say what the tasks' arguments are.

How many they are is known before they are made; each of them is data.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

from corpgrid.errors import JobFileError, LimitError, NotDataError
from corpgrid.sdk.jobfile_fields import Table
from corpgrid.trust.limits import MAX_TASKS
from corpgrid.wire import data


def read_items(table: Table) -> Sequence[Any]:
    """The arguments, in order.

    Raises:
        JobFileError: they cannot be made.
        LimitError: they are too many.
    """
    table.refuse_others(_MAKERS)
    if len(table.content) != 1:
        names = ", ".join(_MAKERS)
        raise JobFileError(
            f"items has {len(table.content)} of {names}; it must have exactly one",
            remedy="Write one of them, such as items.range = [100]." if not table.content else "Leave out the others.",
        )
    (kind,) = table.content
    items = _MAKERS[kind](table, kind)
    if not items:
        raise JobFileError(f"items.{kind} is empty; a job needs at least one task", remedy="Give at least one item.")
    return items


def _grid(table: Table, kind: str) -> Sequence[Any]:
    choices = table.content[kind]
    if not isinstance(choices, dict) or not all(isinstance(values, list) for values in choices.values()):
        raise table.fault(kind, "a table of lists, such as gamma = [0.1, 0.2]")
    if not choices:
        return []
    _require_room(prod(map(len, choices.values())))
    return _checked(kind, [dict(zip(choices, chosen, strict=True)) for chosen in itertools.product(*choices.values())])


def _list(table: Table, kind: str) -> Sequence[Any]:
    values = table.content[kind]
    if not isinstance(values, list):
        raise table.fault(kind, "a list")
    return _checked(kind, values)


def _range(table: Table, kind: str) -> Sequence[Any]:
    parts = table.content[kind]
    whole = isinstance(parts, list) and all(type(part) is int for part in parts)
    if not whole or not 1 <= len(parts) <= 3 or 0 in parts[2:]:
        raise table.fault(kind, "[stop], [start, stop] or [start, stop, step], whole numbers, and no step of 0")
    numbers = range(*parts)
    # len() cannot count what does not fit in memory.
    _require_room((numbers.stop - numbers.start) // numbers.step)
    return numbers


def _lines(table: Table, kind: str) -> Sequence[Any]:
    path = table.path(kind)
    try:
        with path.open(encoding="utf-8") as file:
            lines = [line.removesuffix("\n") for line in itertools.islice(file, MAX_TASKS + 1)]
    except (OSError, UnicodeDecodeError) as error:
        raise JobFileError(
            f"items.{kind}: {path.name} cannot be read: {error}", remedy="Give a file in UTF-8 that this user can read."
        ) from error
    _require_room(len(lines))
    return lines


def _jsonl(table: Table, kind: str) -> Sequence[Any]:
    found = []
    for number, line in enumerate(_lines(table, kind), start=1):
        if not line.strip():
            continue
        try:
            found.append(json.loads(line))
        except (ValueError, RecursionError) as error:
            raise JobFileError(
                f"items.{kind}: line {number} of {table.content[kind]} is not JSON: {error}",
                remedy="Correct that line.",
            ) from error
    return _checked(kind, found)


_MAKERS: Mapping[str, Callable[[Table, str], Sequence[Any]]] = {
    "grid": _grid,
    "list": _list,
    "range": _range,
    "lines": _lines,
    "jsonl": _jsonl,
}


def _checked(kind: str, items: list[Any]) -> list[Any]:
    for index, item in enumerate(items):
        try:
            data.encode(item)
        except NotDataError as error:
            raise JobFileError(
                f"items.{kind}: item {index} cannot travel: {error}", remedy="Write dates and times as texts."
            ) from error
    return items


def _require_room(count: int) -> None:
    if count > MAX_TASKS:
        raise LimitError(
            "MAX_TASKS", limit=MAX_TASKS, got=count, what="the number of items", remedy="Submit several jobs."
        )
