"""Placement: which waiting device gets which ready task.

    columns = DeviceColumns.of(devices, free=free)
    for want, device, count in match(wants, columns, now=now, rng=rng):
        ...

* Feasibility filters first (``domain.feasibility``); then the six weighted factors rank what is left
  (``domain.placement_score`` says what they are, and how ties and rounds go).
* Wants are served in order, each from what those before it left.
* The plan depends on the devices, not on the order in which they are listed, and on ``rng`` by one draw alone.
* A few devices and tasks are placed one by one (``placement_reference``), more of them over columns
  (``placement_arrays``, loaded when first needed); both give the same plan.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from corpgrid.domain import placement_reference
from corpgrid.domain.device import Device
from corpgrid.domain.feasibility import SEEN_WITHIN_SECONDS
from corpgrid.domain.placement_score import WEIGHTS, Circumstances, Want, Weights

if TYPE_CHECKING:
    from corpgrid.domain.placement_columns import Columns

__all__ = ["WEIGHTS", "DeviceColumns", "Placement", "Want", "Weights", "match"]

SMALL_LOOKS = 24
"""Up to so many looks of a want at a device, looking one by one is faster than columns are."""

Take = Callable[[Want], list[tuple[int, int]]]


class Placement(NamedTuple):
    """So many tasks of a want go to a device, both by their place in what ``match`` was given."""

    want: int
    device: int
    count: int  # type: ignore[assignment]  # a field here, not the method of tuples


class DeviceColumns:
    """Devices that wait for work, and how many tasks each can take; made once, good for many matchings."""

    def __init__(self, devices: Sequence[Device], free: Sequence[int]) -> None:
        self.devices = list(devices)
        self.free = list(free)
        assert len(self.devices) == len(self.free), (len(self.devices), len(self.free))

    @classmethod
    def of(cls, devices: Sequence[Device], *, free: Sequence[int] | None = None) -> DeviceColumns:
        """Columns of these devices; ``free`` says how many tasks each can take, if not what its row says."""
        return cls(devices, [device.capacity - device.leased for device in devices] if free is None else free)

    @cached_property
    def arrays(self) -> Columns:
        """The same as NumPy columns."""
        from corpgrid.domain.placement_columns import Columns  # noqa: PLC0415 - a small grid never pays for NumPy

        return Columns(self.devices, self.free)

    def replace(self, place: int, device: Device, *, free: int) -> None:
        """Device number ``place`` changed; cheaper than making all columns again."""
        self.devices[place] = device
        self.free[place] = free
        if "arrays" in self.__dict__:
            self.arrays.replace(place, device, free)


def match(  # noqa: PLR0913 - each is named at the call
    wants: Sequence[Want],
    columns: DeviceColumns,
    *,
    now: float,
    rng: random.Random,
    weights: Weights = WEIGHTS,
    seen_within_seconds: float = SEEN_WITHIN_SECONDS,
) -> list[Placement]:
    """Give tasks to devices; what is not given found no device.  ``columns`` stays as it is.

    Args:
        wants: what is wanted, the most urgent first.
        columns: who waits.
        now: seconds since the epoch.
        rng: decides between equals.
        weights: how much each factor counts.
        seen_within_seconds: a device that was not heard of for longer is given nothing.
    """
    assert weights.correlation_penalty >= 0.0, weights
    assert sum(weights) <= 1.0 + 1e-9 + weights.correlation_penalty, weights  # ranks hold scores from -1 to 1
    given = Circumstances(now, seen_within_seconds, weights, rng.getrandbits(64) | 1)
    take = _taker(wants, columns, given)
    return [
        Placement(number, device, count) for number, want in enumerate(wants) for device, count in _serve(want, take)
    ]


def _taker(wants: Sequence[Want], columns: DeviceColumns, given: Circumstances) -> Take:
    if len(wants) * len(columns.devices) <= SMALL_LOOKS:
        return placement_reference.Board(columns.devices, columns.free, given).take
    from corpgrid.domain.placement_arrays import Board  # noqa: PLC0415 - a small grid never pays for NumPy

    return Board(columns.arrays, given, wants).take


def _serve(want: Want, take: Take) -> Iterator[tuple[int, int]]:
    """One want, in one or two helpings."""
    if want.count <= 0:
        return
    if not want.prefer_trusted or want.require_trusted:
        yield from take(want)
        return
    first = take(want._replace(require_trusted=True))
    yield from first
    rest = want.count - sum(count for _, count in first)
    if rest:
        yield from take(want._replace(count=rest))
