"""Devices as columns, and placement over them: the answers of ``placement_reference``, thousands of times faster.

* What a fleet has few of (platforms, sets of GPUs, sites, owners, labels) is kept as a code per device and one example
  per code (``Kinds``).  Rules are asked of the examples, by the very functions that the reference asks of each device.
* Wants of one kind share a **queue**.  It ranks all devices at once, but lists only the best, a few more than could be
  needed.  Giving makes ranks worse, never better, so the list holds the next device until its end is reached; then a
  longer one is made.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from corpgrid.domain.device import Device
from corpgrid.domain.feasibility import (
    PLACE,
    Refusal,
    gpu_refusals,
    gpus_wanted,
    host_refusals,
    needs_trust,
    platform_refusals,
)
from corpgrid.domain.job import Requirements
from corpgrid.domain.placement_score import (
    ROUND_MAX,
    SCORE_BITS,
    SCORE_STEPS,
    TIE_BITS,
    Circumstances,
    Load,
    Want,
    gpu_fit,
    gpu_lanes,
    gpu_likeness,
    identity,
    own_score,
    rank,
    score,
)

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

SHORTLIST_SPARE = 256
NOBODY = int(np.iinfo(np.int64).max)
"""The rank of a device that there is not."""

_NUMBERS = np.dtype(
    [
        ("capacity", np.int64),
        ("held", np.int64),
        ("free", np.int64),
        ("last_seen", np.float64),
        ("open", np.bool_),
        ("trusted", np.bool_),
        ("memory_bytes", np.int64),
        ("disk_bytes", np.int64),
        ("cpus", np.int64),
        ("reputation", np.float64),
        ("thermal_headroom", np.float64),
        ("identity", np.uint64),
    ]
)


def _numbers(device: Device, free: int) -> tuple[float, ...]:
    facts = device.facts
    return (
        max(device.capacity, 1),
        device.leased,
        free,
        device.last_seen,
        not host_refusals(device),
        device.trusted,
        facts.memory_bytes,
        facts.disk_free_bytes,
        facts.cpus,
        reputation(device),
        min(max(facts.thermal_headroom, 0.0), 1.0),
        identity(device.id),
    )


class Kinds:
    """A property of devices that takes few values: a code per device, and an example per code."""

    def __init__(self, key: Callable[[Device], Hashable], devices: Sequence[Device]) -> None:
        self.key = key
        self.examples: list[Device] = []
        self._code_of: dict[Hashable, int] = {}
        self.codes = np.fromiter(map(self.code, devices), np.int64, len(devices))

    def code(self, device: Device) -> int:
        """The code of the device's value."""
        code = self._code_of.setdefault(self.key(device), len(self.examples))
        if code == len(self.examples):
            self.examples.append(device)
        return code

    def flags(self, test: Callable[[Device], object]) -> Bools:
        """For each code, whether the test holds."""
        return np.fromiter((bool(test(example)) for example in self.examples), np.bool_, len(self.examples))

    def numbers(self, function: Callable[[Device], float]) -> Floats:
        """For each code, a number."""
        return np.fromiter(map(function, self.examples), np.float64, len(self.examples))


class Columns:
    """The devices as columns; position i of every column is device i."""

    def __init__(self, devices: Sequence[Device], free: Sequence[int]) -> None:
        rows = np.array(list(map(_numbers, devices, free)), dtype=_NUMBERS)
        self.devices = list(devices)
        self.number = {name: np.ascontiguousarray(rows[name]) for name in _NUMBERS.names or ()}
        self._kinds: dict[str, Kinds] = {}

    def kinds(self, name: str) -> Kinds:
        """A property by its name in ``_KEYS``; made when first asked for."""
        found = self._kinds.get(name)
        if found is None:
            found = self._kinds[name] = Kinds(_KEYS[name], self.devices)
        return found

    def replace(self, place: int, device: Device, free: int) -> None:
        """Device ``place`` changed."""
        self.devices[place] = device
        for column, value in zip(self.number.values(), _numbers(device, free), strict=True):
            column[place] = value
        for kinds in self._kinds.values():
            kinds.codes[place] = kinds.code(device)


def _platform(device: Device) -> Hashable:
    facts = device.facts
    return facts.operating_system, facts.architecture, facts.python, facts.engines


def _gpus(device: Device) -> Hashable:
    return tuple((gpu.backend, gpu.vram_bytes, gpu.driver) for gpu in device.facts.gpus)


_KEYS: Mapping[str, Callable[[Device], Hashable]] = {
    "platform": _platform,
    "gpus": _gpus,
    "site": lambda device: device.site,
    "owner": lambda device: device.owner,
    "labels": lambda device: device.facts.labels,
}


class _Scored(NamedTuple):
    """All devices as one kind of want sees them: who may, the static part of the score, and the lanes."""

    may: Bools
    static: Floats
    lanes: Ints


class _Entry(NamedTuple):
    """A device in a queue: its rank when it held ``held`` tasks."""

    rank: int
    place: int
    held: int


class _Queue:
    """The devices for one kind of want, best first.

    Every device that may be had is in one of three places: in what is still to come of the list; in the heap ``met``; or
    beyond the end of the list, where it ranks behind all of it.
    """

    def __init__(self, board: Board, scored: _Scored, *, size: int) -> None:
        self.scored = scored
        self._board = board
        self._size = size
        self._met: list[_Entry] = []
        self._coming, self._complete = board.best(scored, size)

    def pop(self) -> _Entry | None:
        """Take out the best device, by the rank it had when it was last looked at; None: there is none."""
        if not self._coming and not self._complete:
            self._size *= 8
            self._met.clear()
            self._coming, self._complete = self._board.best(self.scored, self._size)
        if self._coming and not (self._met and self._met[0] < self._coming[-1]):
            return self._coming.pop()
        return heapq.heappop(self._met) if self._met else None

    def push(self, entry: _Entry) -> None:
        """Put a device back that was taken out."""
        heapq.heappush(self._met, entry)
