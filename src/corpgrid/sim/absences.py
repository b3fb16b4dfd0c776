"""Who was away, and what follows from it.

* While no scheduler was there no lease could be renewed.  Its absence is owed to all leases: none may expire before
  they were extended by it.
* A device whose host forbids work for long must have handed back what it held.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from corpgrid.domain.attempt import Lease
from corpgrid.domain.device import Device
from corpgrid.domain.ids import DeviceId

_SHORT_SECONDS = 10.0
"""A gap between commits that is no outage."""
_HAND_BACK_SECONDS = 120.0


class Absences:
    """Follows commits and hosts in time.

    Attributes:
        owed_seconds: of outages, by which leases were not yet extended.
    """

    def __init__(self, fail: Callable[[str], None]) -> None:
        self.owed_seconds = 0.0
        self._fail = fail
        self._committed_at = 0.0
        self._forbidden_since: dict[DeviceId, float] = {}

    def committed(self, now: float, *, leases: bool, extended_seconds: float) -> None:
        """A tick was committed; ``leases``: whether there were any before it."""
        gap_seconds = now - self._committed_at - _SHORT_SECONDS
        if leases and self._committed_at and gap_seconds > 0:
            self.owed_seconds += gap_seconds
        self._committed_at = now
        self.owed_seconds = max(0.0, self.owed_seconds - extended_seconds)

    def seen(self, device: Device, leases: Iterable[Lease], now: float) -> None:
        """A device said how it is; these are the leases of all."""
        if device.power.on_ac_power and not device.blockers:
            self._forbidden_since.pop(device.id, None)
        elif now - self._forbidden_since.setdefault(device.id, now) > _HAND_BACK_SECONDS:
            for lease in leases:
                if lease.device == device.id and lease.until > now:
                    self._fail(f"I7: {device.id} may not work for {_HAND_BACK_SECONDS:.0f} s and keeps {lease.epoch}")
