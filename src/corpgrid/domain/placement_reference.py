"""Placement, one device after the other: short, and what placement over columns is measured against.

The next task of a want goes to the device of the lowest rank among those that are refused for nothing; then the rank of
that device is computed again, for it holds one task more.  That is all.  For a few devices it is also the faster way.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence

from corpgrid.domain.device import Device
from corpgrid.domain.feasibility import refusals
from corpgrid.domain.placement_score import (
    Circumstances,
    Load,
    Want,
    identity,
    lanes,
    rank,
    score,
    static_score,
    tie_of,
)


class Board:
    """The devices, and what was given to each so far."""

    def __init__(self, devices: Sequence[Device], free: Sequence[int], given: Circumstances) -> None:
        self.devices = devices
        self.free = list(free)
        self.held = [device.leased for device in devices]
        self.given = given

    def take(self, want: Want) -> list[tuple[int, int]]:
        """Place as many tasks of the want as there is room for: device index and count, the best device first."""
        rank_at = {place: self._ranker(want, place) for place in range(len(self.devices)) if self._may(want, place)}
        queue = [(rank_of(self.held[place]), place) for place, rank_of in rank_at.items()]
        heapq.heapify(queue)
        counts: dict[int, int] = {}
        for _ in range(want.count):
            if not queue:
                break
            _, place = queue[0]
            counts[place] = counts.get(place, 0) + 1
            self.held[place] += 1
            self.free[place] -= 1
            if self.free[place] > 0:
                heapq.heapreplace(queue, (rank_at[place](self.held[place]), place))
            else:
                heapq.heappop(queue)
        return list(counts.items())

    def _may(self, want: Want, place: int) -> bool:
        return not refusals(
            want.requirements,
            want.verify_mode,
            self.devices[place],
            now=self.given.now,
            seen_within_seconds=self.given.seen_within_seconds,
            excluded_owners=want.excluded_owners,
            excluded_devices=want.excluded_devices,
            require_trusted=want.require_trusted,
            free=self.free[place],
        )

    def _ranker(self, want: Want, place: int) -> Callable[[int], int]:
        """The device's rank by how many tasks it holds."""
        device, weights = self.devices[place], self.given.weights
        static, side_by_side = static_score(want, device, weights), lanes(want.requirements, device.facts)
        tie = tie_of(identity(device.id), self.given.tie_seed)

        def rank_of(held: int) -> int:
            load = Load(held, device.capacity, side_by_side)
            return rank(score(static, load, weights), load, tie)

        return rank_of
