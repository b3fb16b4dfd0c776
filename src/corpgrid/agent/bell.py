"""Tells whoever listens at this moment to look again; nothing is remembered, and nobody waits for a turn of another.

>>> while not has_work():
...     await bell.heard()
"""

from __future__ import annotations

import asyncio


class Bell:
    """Wakes its listeners within the turn of the loop in which it rings."""

    def __init__(self) -> None:
        self._listening: set[asyncio.Future[None]] = set()

    def ring(self) -> None:
        """Wake everybody who listens."""
        for listener in self._listening:
            if not listener.done():
                listener.set_result(None)

    async def heard(self) -> None:
        """Wait until it rings."""
        listener = asyncio.get_running_loop().create_future()
        self._listening.add(listener)
        try:
            await listener
        finally:
            self._listening.discard(listener)
