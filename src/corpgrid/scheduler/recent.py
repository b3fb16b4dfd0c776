"""Things kept at hand, the least lately used go first.

>>> recent = Recent[str, str](10)
>>> recent.put("a", "value", size_bytes=6)
>>> recent.put("b", "value", size_bytes=6)
>>> recent.get("a") is None
True
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(Generic[K, V]):
    """At most ``keep_bytes`` of values by key."""

    def __init__(self, keep_bytes: int) -> None:
        self._keep_bytes = keep_bytes
        self._bytes = 0
        self._kept: OrderedDict[K, tuple[V, int]] = OrderedDict()

    def get(self, key: K) -> V | None:
        """The value, if it is still here."""
        found = self._kept.get(key)
        if found is None:
            return None
        self._kept.move_to_end(key)
        return found[0]

    def put(self, key: K, value: V, *, size_bytes: int) -> None:
        """Keep a value, and let go of what is too much then."""
        old = self._kept.pop(key, None)
        self._bytes += size_bytes - (old[1] if old is not None else 0)
        self._kept[key] = (value, size_bytes)
        while self._bytes > self._keep_bytes:
            _, (_, freed) = self._kept.popitem(last=False)
            self._bytes -= freed
