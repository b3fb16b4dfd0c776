"""Placement, one device after the other: short, and what placement over columns is measured against.

The next task of a want goes to the device of the lowest rank among those that are refused for nothing; then the rank of
that device is computed again, for it holds one task more.  That is all.  For a few devices it is also the faster way.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from corpgrid.domain.device import Device
from corpgrid.domain.feasibility import refusals
from corpgrid.domain.placement_score import Circumstances, Seat, Want, identity, lanes, static_score, tie_of


class Board:
    """The devices, and how many tasks each was given so far."""

    def __init__(self, devices: Sequence[Device], free: Sequence[int], circumstances: Circumstances) -> None:
        self.devices = devices
        self.free = free
        self.circumstances = circumstances
        self.given = [0] * len(devices)

    def take(self, want: Want) -> list[tuple[int, int]]:
        """Place as many tasks of the want as there is room for: device index and count, the best device first."""
        may = [place for place in range(len(self.devices)) if self._may(want, place)]
        if len(may) <= 1:
            return [(place, self._give_all(want.count, place)) for place in may if want.count > 0]
        weights, given, counts = self.circumstances.weights, self.given, dict[int, int]()
        seats = {place: self._seat(want, place) for place in may}
        queue = [(seat.rank(given[place], weights), place) for place, seat in seats.items()]
        heapq.heapify(queue)
        for _ in range(want.count):
            if not queue:
                break
            _, place = queue[0]
            counts[place] = counts.get(place, 0) + 1
            given[place] += 1
            if given[place] < self.free[place]:
                heapq.heapreplace(queue, (seats[place].rank(given[place], weights), place))
            else:
                heapq.heappop(queue)
        return list(counts.items())

    def _give_all(self, count: int, place: int) -> int:
        """Give so many to a device that is the only one, as far as it has room; how many it got."""
        taken = min(count, self.free[place] - self.given[place])
        self.given[place] += taken
        return taken

    def _may(self, want: Want, place: int) -> bool:
        return not refusals(
            want.requirements,
            want.verify_mode,
            self.devices[place],
            now=self.circumstances.now,
            seen_within_seconds=self.circumstances.seen_within_seconds,
            excluded_owners=want.excluded_owners,
            excluded_devices=want.excluded_devices,
            require_trusted=want.require_trusted,
            free=self.free[place] - self.given[place],
        )

    def _seat(self, want: Want, place: int) -> Seat:
        device = self.devices[place]
        return Seat(
            static=static_score(want, device, self.circumstances.weights),
            held=device.leased,
            capacity=device.capacity,
            free=self.free[place],
            lanes=lanes(want.requirements, device.facts),
            tie=tie_of(identity(device.id), self.circumstances.tie_seed),
        )
