"""Devices as columns: numbers as NumPy arrays, and what a fleet has few of as a code per device.

Platforms, sets of GPUs, sites, owners and labels take few values in a fleet.  Of each the columns keep a code per
device and one example per code (``Kinds``), so that a rule is asked of the examples, by the very function that is asked
of a single device elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from corpgrid.domain.device import Device
from corpgrid.domain.feasibility import host_refusals
from corpgrid.domain.placement_score import headroom, identity, reputation

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_NUMBERS = np.dtype(
    [
        ("capacity", np.float64),
        ("held", np.float64),
        ("free", np.int64),
        ("last_seen", np.float64),
        ("open", np.bool_),
        ("trusted", np.bool_),
        ("memory_bytes", np.uint64),
        ("disk_bytes", np.uint64),
        ("cpus", np.float64),
        ("reputation", np.float64),
        ("headroom", np.float64),
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
        headroom(facts),
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
