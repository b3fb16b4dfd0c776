"""Epochs and batch numbers, which many schedulers give out at once and which rise for every task.

They come in blocks.  A tick that holds its locks uses the block of the tick before it only while nobody took another
since: whoever held one of these jobs before used an older block, or this one.
"""

from __future__ import annotations

from corpgrid.domain.effects import Effects

BLOCK = 65_536
MOST_A_TICK = BLOCK // 2
_NONE = -1


class Numbers:
    """The block that this store uses, and what is free in it."""

    def __init__(self) -> None:
        self.block = _NONE
        self._epochs = 0
        self._batches = 0

    @property
    def wanted(self) -> int:
        """The block to go on with, or -1 for a new one, whatever others did."""
        return self.block if max(self._epochs, self._batches) < MOST_A_TICK else _NONE

    def use(self, block: int) -> tuple[int, int]:
        """The first free epoch and batch number in a block."""
        if block != self.block:
            self.block, self._epochs, self._batches = block, 0, 0
        return self._next(self._epochs), self._next(self._batches)

    def keep(self, effects: Effects) -> None:
        """Note what a tick used.

        Raises:
            AssertionError: more than a block has.
        """
        self._epochs = self._used(self._epochs, [lease.epoch for lease in effects.leases])
        self._batches = self._used(self._batches, [batch.number for batch in effects.batches])

    def forget(self) -> None:
        """Take a new block next: nobody knows what was used of this one."""
        self.block, self._epochs, self._batches = _NONE, 0, 0

    def _next(self, used: int) -> int:
        return self.block * BLOCK + 1 + used

    def _used(self, used: int, numbers: list[int]) -> int:
        first = self.block * BLOCK + 1
        most = max((number - first + 1 for number in numbers), default=0)
        assert most <= used + MOST_A_TICK, f"a tick used {most - used:,} numbers"
        return max(used, most)
