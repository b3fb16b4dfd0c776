"""What all daemons do alike.  It imports neither the scheduler nor a store: an agent starts fast, on any machine."""

from __future__ import annotations

import asyncio
import gc
import os
import threading

from corpgrid.config import Config
from corpgrid.transport.limits import TransportLimits

_COLLECT_AFTER = (200_000, 20, 20)


def transport_limits(config: Config) -> TransportLimits:
    """The limits of a connection."""
    limits = config.limits
    return TransportLimits(
        call_seconds=limits.call_seconds,
        message_bytes=limits.message_bytes,
        blob_bytes=limits.blob_bytes,
        connections=limits.connections,
    )


def spare_the_collector() -> None:
    """Let Python's cycle collector rest: a tick makes thousands of rows, and none of them is in a cycle.

    At its usual pace the collector takes a fifth of a busy scheduler's time to find nothing.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECT_AFTER)


def stop_with_parent(stop: asyncio.Event) -> None:
    """Set ``stop`` when standard input ends, as it does when whoever holds its other end is gone."""
    loop = asyncio.get_running_loop()

    def read() -> None:
        while os.read(0, 4096):
            pass
        loop.call_soon_threadsafe(stop.set)

    threading.Thread(target=read, name="corpgrid-parent", daemon=True).start()
