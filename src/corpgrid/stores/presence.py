"""Who could take work: what ``View.owners`` counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from corpgrid.domain.device import Device, DeviceState
from corpgrid.domain.effects import OwnerPresence
from corpgrid.domain.ids import DeviceId, OwnerId

BARRED = frozenset({DeviceState.QUARANTINED, DeviceState.REVOKED})


def count_owners(devices: Iterable[Device], *, seen_since: float) -> dict[OwnerId, OwnerPresence]:
    """The owners who have a device that is active, without blockers, and was seen at ``seen_since`` or later."""
    found: dict[OwnerId, OwnerPresence] = {}
    for device in devices:
        if device.state is DeviceState.ACTIVE and not device.blockers and device.last_seen >= seen_since:
            active, trusted = found.get(device.owner, (0, 0))
            found[device.owner] = OwnerPresence(active + 1, trusted + device.trusted)
    return found


def changes_owners(old: Mapping[DeviceId, Device], new: Iterable[Device]) -> bool:
    """Whether a device is counted otherwise than before, but for the time at which it was seen."""
    return any(_counted(old.get(device.id)) != _counted(device) for device in new)


def _counted(device: Device | None) -> tuple[object, ...]:
    return () if device is None else (device.state, bool(device.blockers), device.owner, device.trusted)
