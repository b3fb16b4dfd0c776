"""Placement over columns: the plans of ``placement_reference``, thousands of times faster.

Wants of one kind share a **queue**.  It ranks all devices at once, but lists only the best, a few more than could be
needed.  Giving makes ranks worse, never better, so the list holds the next device until its end is reached; then a
longer one is made.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from corpgrid.domain.device import Device
from corpgrid.domain.feasibility import (
    PLACE,
    Refusal,
    gpu_refusals,
    gpus_wanted,
    needs_trust,
    platform_refusals,
)
from corpgrid.domain.job import Requirements
from corpgrid.domain.placement_columns import Bools, Columns, Floats
from corpgrid.domain.placement_score import (
    ROUND_MAX,
    SCORE_BITS,
    SCORE_STEPS,
    TIE_BITS,
    Circumstances,
    Seat,
    Want,
    gpu_fit,
    gpu_lanes,
    gpu_likeness,
)

Ints = npt.NDArray[np.int64]

Entry = tuple[int, int, int]
"""A device in a queue: its rank when it had been given so many tasks, its place, and how many these were."""

UINT64_MAX = (1 << 64) - 1
LIST_SPARE = 64
SAMPLE = 4_096
NOBODY = int(np.iinfo(np.int64).max)
"""The rank of a device that there is not."""


class _Seats(NamedTuple):
    """All devices as one kind of want sees them: whom it may have, and what decides how they rank."""

    may: Bools
    static: Floats
    lanes: Floats


class _Queue:
    """The devices for one kind of want, best first.

    Every device that may be had is in one of four places: in what is still to come of the list; in the heap ``met``;
    among those that the present want skipped; or beyond the end of the list, where it ranks behind all of the list.
    """

    def __init__(self, board: Board, seats: _Seats, *, size: int) -> None:
        self._board = board
        self._seats = seats
        self._size = size
        self._met: list[Entry] = []
        self._skipped: list[Entry] = []
        self._seat_at: dict[int, Seat] = {}
        self._coming: list[Entry] = []
        self._complete = False
        self._list()

    def _list(self) -> None:
        self._met.clear()
        self._skipped.clear()
        self._coming, seats, self._complete = self._board.best(self._seats, self._size)
        self._seat_at.update(seats)

    def pop(self) -> Entry | None:
        """Take out the best device by the rank it had when it was last looked at; None: there is none."""
        if not self._coming and not self._complete:
            self._size *= 8
            self._list()
        if self._coming and not (self._met and self._met[0] < self._coming[-1]):
            return self._coming.pop()
        return heapq.heappop(self._met) if self._met else None

    def put_back(self, place: int, given: int) -> None:
        """Put a device in that was taken out, under the rank that it has now, if it has room."""
        seat = self._seat_at[place]
        if given < seat.free:
            heapq.heappush(self._met, (seat.rank(given, self._board.weights), place, given))

    def skip(self, entry: Entry) -> None:
        """Keep a device that was taken out for the next want."""
        self._skipped.append(entry)

    def next_want(self) -> None:
        """Put in what the last want skipped."""
        for entry in self._skipped:
            heapq.heappush(self._met, entry)
        self._skipped.clear()


class Board:
    """The columns, and how many tasks each device was given so far."""

    def __init__(self, columns: Columns, circumstances: Circumstances, wants: Iterable[Want]) -> None:
        number = columns.number
        self.columns = columns
        self.weights = circumstances.weights
        self.given: dict[int, int] = {}
        age_seconds = circumstances.now - number["last_seen"]
        self._present: Bools = number["open"] & (age_seconds <= circumstances.seen_within_seconds)
        mixed = number["identity"] * np.uint64(circumstances.tie_seed)
        self._tie: Ints = (mixed >> np.uint64(64 - TIE_BITS)).astype(np.int64)
        self._queues: dict[Hashable, _Queue] = {}
        self._eligible_for: dict[Hashable, _Seats] = {}
        self._demand: Counter[Hashable] = Counter()
        for want in wants:
            self._demand[_kind(want)] += want.count

    def take(self, want: Want) -> list[tuple[int, int]]:
        """Place as many tasks of the want as there is room for: device index and count, the best device first."""
        queue, given, counts, missing = self._queue(want), self.given, dict[int, int](), want.count
        choosy = bool(want.excluded_owners or want.excluded_devices)
        while missing and (entry := queue.pop()):
            _, place, before = entry
            present = given.get(place, 0)
            if present != before:
                queue.put_back(place, present)
            elif choosy and self._excluded(want, place):
                queue.skip(entry)
            else:
                counts[place] = counts.get(place, 0) + 1
                given[place] = before + 1
                missing -= 1
                queue.put_back(place, before + 1)
        queue.next_want()
        return list(counts.items())

    def _excluded(self, want: Want, place: int) -> bool:
        device = self.columns.devices[place]
        return device.owner in want.excluded_owners or device.id in want.excluded_devices

    def _queue(self, want: Want) -> _Queue:
        kind = _kind(want)
        found = self._queues.get(kind)
        if found is None:
            size = max(self._demand[kind], want.count) + LIST_SPARE
            found = self._queues[kind] = _Queue(self, self.eligible(want), size=size)
        return found

    def eligible(self, want: Want) -> _Seats:
        """Whom the want may have, but for room and for whom it excludes by name, and how they rank for it."""
        need, trusted_only = want.requirements, _trusted_only(want)
        found = self._eligible_for.get((need, trusted_only))
        if found is None:
            may = self._may(need, trusted_only=trusted_only)
            found = self._eligible_for[need, trusted_only] = _Seats(may, self._suits(need), self._lanes(need))
        if not want.kinds_placed:
            return found
        return found._replace(static=found.static - self.weights.correlation_penalty * self._correlation(want))

    def best(self, seats: _Seats, size: int) -> tuple[list[Entry], dict[int, Seat], bool]:
        """The ``size`` best devices as they stand, the best one last; their seats; and whether there are no others."""
        number, given = self.columns.number, np.zeros(len(self._tie), np.int64)
        given[list(self.given)] = list(self.given.values())
        barred = ~(seats.may & (number["free"] > given))
        ranks = np.maximum(self._ranks(seats, number["held"] + given), barred * NOBODY)
        places = _lowest(ranks, size)
        order = places[np.argsort(ranks[places], kind="stable")][:size][::-1]
        entries = zip(ranks[order].tolist(), order.tolist(), given[order].tolist(), strict=True)
        counts = (number["held"], number["capacity"], number["free"], seats.lanes, self._tie)
        whole = (column[order].astype(np.int64).tolist() for column in counts)
        rows = map(Seat, seats.static[order].tolist(), *whole)
        return list(entries), dict(zip(order.tolist(), rows, strict=True)), len(places) <= size

    def _ranks(self, seats: _Seats, held: Ints) -> Ints:
        """``Seat.rank`` of every device."""
        idle = np.maximum(0.0, 1.0 - held / self.columns.number["capacity"])
        in_lanes = held / seats.lanes
        score = seats.static + self.weights.fairness * idle
        score += self.weights.utilisation * np.maximum(0.0, 1.0 - in_lanes)
        worse = ((1.0 - score) * SCORE_STEPS).astype(np.int64)
        rounds = np.minimum(in_lanes.astype(np.int64), ROUND_MAX)
        return np.asarray(((rounds << SCORE_BITS | worse) << TIE_BITS) | self._tie, np.int64)

    def _suits(self, need: Requirements) -> Floats:
        """The score but for likeness and load."""
        number, weights, gpus = self.columns.number, self.weights, self.columns.kinds("gpus")
        fit = gpus.numbers(lambda device: gpu_fit(need, device.facts.gpus))[gpus.codes]
        if need.memory_bytes and not gpus_wanted(need):
            full = float(need.memory_bytes) / np.maximum(number["memory_bytes"], np.uint64(1))
            fit = np.minimum(full, 1.0) * fit  # more than full only where the device is refused
        own = weights.reputation * number["reputation"] + weights.thermal_headroom * number["headroom"]
        return np.asarray(own + weights.fit * fit, np.float64)

    def _lanes(self, need: Requirements) -> Floats:
        """``placement_score.lanes`` of every device."""
        number = self.columns.number
        lanes = number["cpus"] if need.cpus <= 1 else np.floor(number["cpus"] / need.cpus)
        if gpus_wanted(need):
            gpus = self.columns.kinds("gpus")
            lanes = np.minimum(lanes, gpus.numbers(lambda device: gpu_lanes(need, device.facts.gpus))[gpus.codes])
        if need.memory_bytes:
            lanes = np.minimum(lanes, number["memory_bytes"] // min(need.memory_bytes, UINT64_MAX))
        return np.asarray(np.clip(lanes, 1.0, ROUND_MAX), np.float64)

    def _correlation(self, want: Want) -> Floats:
        sites, gpus = self.columns.kinds("site"), self.columns.kinds("gpus")
        alike = sites.numbers(lambda device: device.site in want.placed_sites)[sites.codes]
        alike += gpus.numbers(lambda device: gpu_likeness(want, device.facts.gpus))[gpus.codes]
        return alike / want.kinds_placed

    def _may(self, need: Requirements, *, trusted_only: bool) -> Bools:
        may, number = self._present.copy(), self.columns.number
        self._narrow(may, "platform", lambda device: not platform_refusals(need, device.facts))
        self._narrow(may, "gpus", lambda device: not gpu_refusals(need, device.facts.gpus))
        for name, asked in (("site", need.sites), ("owner", need.owners), ("labels", need.labels)):
            if asked:
                self._narrow(may, name, partial(_in_place, Refusal(name), need))
        for name, least in (("memory_bytes", need.memory_bytes), ("disk_bytes", need.disk_bytes), ("cpus", need.cpus)):
            if least > 0:
                may &= number[name] >= least
        if trusted_only:
            may &= number["trusted"]
        return may

    def _narrow(self, may: Bools, name: str, passes: Callable[[Device], bool]) -> None:
        """Leave only devices whose kind passes."""
        kinds = self.columns.kinds(name)
        passing = np.fromiter(map(passes, kinds.examples), np.bool_, len(kinds.examples))
        if not passing.all():
            may &= passing[kinds.codes]


def _trusted_only(want: Want) -> bool:
    return needs_trust(want.verify_mode, require_trusted=want.require_trusted)


def _kind(want: Want) -> Hashable:
    """Wants of one kind rank all devices alike."""
    return want.requirements, _trusted_only(want), want.placed_sites, want.placed_backends, want.placed_drivers


def _in_place(refusal: Refusal, need: Requirements, device: Device) -> bool:
    return not PLACE[refusal](need, device)


def _lowest(ranks: Ints, size: int) -> Ints:
    """Where the lowest ranks are, in no order: all of them if they are at most ``size``, else more than ``size``."""
    stride = len(ranks) // SAMPLE
    if stride > 1:
        # A sample says where the lowest end; where it holds too few or says too little, all ranks are taken.
        sample, nth = ranks[::stride], 2 * size // stride + 8
        last = np.partition(sample, nth)[nth] if nth < len(sample) else NOBODY
        lowest = np.flatnonzero(ranks <= last) if last < NOBODY else ranks[:0]
        if len(lowest) > size:
            return lowest
    return np.flatnonzero(ranks < NOBODY)
