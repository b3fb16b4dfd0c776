"""A task's argument as it travels: one tag byte, then the value as data, or pickled where it is not data.

``d`` is followed by ``wire.data``; ``p`` by a pickle, which only the sandbox reads, and which the submitter's signature
covers like the code itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import cloudpickle

from corpgrid.errors import NotDataError
from corpgrid.wire import data

PAGE_BYTES = 512 << 10
PAGE_TASKS_MAX = 1024


def encode_item(value: Any) -> bytes:
    """One argument as it travels."""
    try:
        return b"d" + data.encode(value)
    except NotDataError:
        return b"p" + bytes(cloudpickle.dumps(value))


def encode_items(values: Iterable[Any]) -> Iterator[bytes]:
    """Arguments as they travel, in order."""
    return map(encode_item, values)


def page_tasks(items: list[bytes]) -> int:
    """How many items to put on a page so that a page is about ``PAGE_BYTES``; by the largest item, at least one."""
    largest = max(map(len, items), default=1)
    return max(1, min(PAGE_TASKS_MAX, PAGE_BYTES // max(largest, 1)))
