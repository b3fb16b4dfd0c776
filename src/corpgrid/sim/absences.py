"""Who was away, and what follows from it.

* While no scheduler was there no lease could be renewed.  Its absence is owed to all leases: none may expire before
  they were extended by it.  Nor may they be extended by more than that: a scheduler that slept while others worked has
  missed nothing.
* A device whose host forbids work for long must have handed back what it held, if there was anybody to hand it to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from corpgrid.domain.attempt import Lease
from corpgrid.domain.device import Device
from corpgrid.domain.ids import DeviceId

_SHORT_SECONDS = 10.0
"""A gap between commits that is no outage."""
_UNWRITTEN_SECONDS = 2.0
"""While nothing happens, stores note only every second that somebody is there."""
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
        self._away_seconds = 0.0
        self._forbidden_since: dict[DeviceId, float] = {}

    def committed(self, now: float, *, leases: bool, extended_seconds: float) -> None:
        """A tick was committed; ``leases``: whether there were any before it."""
        gap_seconds = now - self._committed_at if self._committed_at else 0.0
        if gap_seconds > _SHORT_SECONDS:
            self._away_seconds += gap_seconds
            self.owed_seconds += gap_seconds - _SHORT_SECONDS if leases else 0.0
        if extended_seconds > gap_seconds + _UNWRITTEN_SECONDS:
            self._fail(f"I5: leases were extended by {extended_seconds:.3f} s after an outage of {gap_seconds:.3f} s")
        self._committed_at = now
        self.owed_seconds = max(0.0, self.owed_seconds - extended_seconds)

    def seen(self, device: Device, leases: Iterable[Lease], now: float) -> None:
        """A device said how it is; these are its leases."""
        if device.power.on_ac_power and not device.blockers:
            self._forbidden_since.pop(device.id, None)
            return
        now -= self._away_seconds
        since = self._forbidden_since.setdefault(device.id, now)
        for lease in leases if now - since > _HAND_BACK_SECONDS else ():
            if lease.until - self._away_seconds > now:
                self._fail(f"I7: {device.id} may not work for {_HAND_BACK_SECONDS:.0f} s and keeps {lease.epoch}")
