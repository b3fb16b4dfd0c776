"""A task's argument as it travels: one tag byte, then the value as data, or pickled where it is not data.

``d`` is followed by ``wire.data``; ``p`` by a pickle, which only the sandbox reads, and which the submitter's signature
covers like the code itself.  Arguments travel on pages of equally many items.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from corpgrid.errors import LimitError, NotDataError
from corpgrid.sdk.packing import pack
from corpgrid.trust.limits import MAX_PAGE_BYTES, MAX_TASKS
from corpgrid.wire import data

MAX_ITEM_BYTES = 48 << 20
"""As much as a result; it crosses from the agent to the runner in one frame."""
PAGE_BYTES = 512 << 10
PAGE_TASKS_MAX = 1024
_PAGE_FRAME_BYTES = 1 << 20
"""More than a page adds to its items."""
_AS_FILES = "Send large arguments as files (inputs=), or let each task read its part of one."


def encode_item(value: Any, *, what: str = "the item", provided: frozenset[str] = frozenset()) -> bytes:
    """One argument as it travels.

    Args:
        value: any data, or anything that can be pickled by value.
        what: how an error calls it.
        provided: packages that the job brings.

    Raises:
        BundleError: it cannot travel, or refers to a package that the job does not bring.
        LimitError: it is too large.
    """
    try:
        return b"d" + data.encode(value, max_bytes=MAX_ITEM_BYTES)
    except NotDataError:
        content = pack(value, what=what, provided=provided)
        if len(content) > MAX_ITEM_BYTES:
            raise _too_large(len(content), what) from None
        return b"p" + content
    except LimitError as error:
        raise _too_large(error.got, what) from None


def encode_items(values: Iterable[Any], *, provided: frozenset[str] = frozenset()) -> list[bytes]:
    """Arguments as they travel, in order.

    Raises:
        BundleError: one cannot travel.
        LimitError: one is too large, or there are too many.
    """
    items: list[bytes] = []
    for index, value in enumerate(values):
        if index >= MAX_TASKS:
            raise LimitError(
                "MAX_TASKS", limit=MAX_TASKS, got=index + 1, what="the number of items", remedy="Submit several jobs."
            )
        items.append(encode_item(value, what=f"item {index}", provided=provided))
    return items


def page_tasks(items: Sequence[bytes]) -> int:
    """How many items to put on a page, so that pages have about ``PAGE_BYTES`` and none is beyond its limit."""
    mean = sum(map(len, items)) // max(len(items), 1)
    count = max(1, min(PAGE_TASKS_MAX, PAGE_BYTES // max(mean, 1)))
    while count > 1 and _largest_page(items, count) > MAX_PAGE_BYTES - _PAGE_FRAME_BYTES:
        count //= 2
    return count


def _largest_page(items: Sequence[bytes], count: int) -> int:
    return max(sum(map(len, items[start : start + count])) for start in range(0, len(items), count))


def _too_large(size: float, what: str) -> LimitError:
    return LimitError("MAX_ITEM_BYTES", limit=MAX_ITEM_BYTES, got=size, what=what, remedy=_AS_FILES)
