"""What every store is told when it is made."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from corpgrid.domain.ids import Digest
from corpgrid.ports.host import Clock

ItemPayload = Callable[[bytes, int], bytes]
BatchBlobs = Callable[[bytes], Iterable[Digest]]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """Surroundings and limits of a store.

    Attributes:
        clock: the store's time (``View.now``).
        item_payload: the encoded result at a position of a stored batch (``View.payloads``).  A store knows no wire
            format.  Positions of one batch are asked for one after the other.
        batch_blobs: digests of the blobs that a stored batch names: large results and output files (``referenced``).
        seen_within_seconds: a device that was not seen for so long is not there (``View.owners``).
        owners_seconds: how long a count of the owners stays good, unless one of their devices changes.
    """

    clock: Clock
    item_payload: ItemPayload
    batch_blobs: BatchBlobs
    seen_within_seconds: float = 60.0
    owners_seconds: float = 5.0
