"""msgpack from strangers, read without believing what it says of itself.

* A header may claim a billion entries over three bytes, and msgpack makes room for what is claimed before it looks.  So
  the bytes are first walked without building anything (``require_complete``): every claimed entry must be there.  After
  that a list is at most eight times as large as the bytes it came from.
* Small containers cost far more memory than bytes, so all containers of one value together are counted
  (``MAX_CONTAINERS``).
* A map has each key once, and its keys are not made to collide in a hash table.
* Whatever is wrong raises ``MalformedDataError``; nothing else leaves this module.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, NoReturn

import msgpack

from corpgrid.errors import MalformedDataError

MAX_CONTAINERS = 1_000_000
"""Lists, tuples, maps and entries of maps in one value, together."""
MAX_SAME_HASH = 64
"""Keys of one map that share a hash.  Text is hashed with a secret, tuples and huge integers are not."""

Pairs = list[tuple[Any, Any]]


class Budget:
    """Counts the containers of one value while it is read, and builds its maps."""

    __slots__ = ("containers",)

    def __init__(self) -> None:
        self.containers = 0

    def spend(self, count: int) -> None:
        """Count, and refuse what goes beyond the limit."""
        self.containers += count
        if self.containers > MAX_CONTAINERS:
            raise MalformedDataError(f"more than MAX_CONTAINERS, {MAX_CONTAINERS:,}, lists, maps and map entries")

    def on_list(self, entries: list[Any]) -> Any:
        """A list was read."""
        self.containers += 1  # as ``spend``, but a large value has many of them
        if self.containers > MAX_CONTAINERS:
            self.spend(0)
        return entries

    def on_pairs(self, pairs: Pairs) -> dict[Any, Any]:
        """A map was read."""
        self.spend(1 + len(pairs))
        _require_spread_hashes(pairs)
        found = dict(pairs)
        if len(found) != len(pairs):
            raise MalformedDataError("a map has a key twice")
        return found


def refuse_ext(code: int, _body: bytes) -> NoReturn:
    """For values that have no extension types."""
    raise MalformedDataError(f"extension type {code} has no place here")


def unpack(content: bytes | memoryview, budget: Budget, *, on_ext: Callable[[int, bytes], Any] = refuse_ext) -> Any:
    """Read one value that fills ``content`` to its last byte.

    Raises:
        MalformedDataError: it is not one such value, or is beyond a limit.
    """
    require_complete(content)
    try:
        return msgpack.unpackb(
            content,
            strict_map_key=False,
            list_hook=budget.on_list,
            object_pairs_hook=budget.on_pairs,
            ext_hook=on_ext,
            max_map_len=MAX_CONTAINERS,
            timestamp=1,  # msgpack's own extension type becomes a plain float: it has no hook that could refuse it
        )
    except MalformedDataError:
        raise
    except (msgpack.UnpackException, ValueError, TypeError, OverflowError, RecursionError) as cause:
        raise MalformedDataError(f"the bytes cannot be read: {cause or type(cause).__name__}") from None


def require_complete(content: bytes | memoryview) -> None:
    """Check that the bytes are one msgpack value, all of it, without building it.

    Raises:
        MalformedDataError: something is missing, is left over, or is no msgpack.
    """
    walker = msgpack.Unpacker(max_buffer_size=max(len(content), 1))
    walker.feed(content)
    try:
        walker.skip()
    except (msgpack.UnpackException, ValueError, RecursionError) as cause:
        raise MalformedDataError(f"the bytes are no complete value: {cause or type(cause).__name__}") from None
    if walker.tell() != len(content):
        raise MalformedDataError(f"{len(content) - walker.tell():,} bytes are left over after the value")


def _require_spread_hashes(pairs: Pairs) -> None:
    if len(pairs) <= MAX_SAME_HASH or {type(key) for key, _ in pairs} <= {str}:
        return
    _, most = Counter(hash(key) for key, _ in pairs).most_common(1)[0]
    if most > MAX_SAME_HASH:
        raise MalformedDataError(f"{most:,} keys of a map share one hash where MAX_SAME_HASH allows {MAX_SAME_HASH}")
