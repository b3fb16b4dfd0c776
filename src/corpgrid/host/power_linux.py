"""Mains or battery on Linux, read from a tree like ``/sys/class/power_supply``.

    read(Path("/sys/class/power_supply"))

Rules, in order; the first that applies decides:

1. Supplies of a device (``scope`` is ``Device``: mice, headsets) and empty battery slots say nothing of the machine.
2. A UPS that is discharging means that mains power failed, whatever else is plugged in.
3. A ``Mains`` supply that is online means mains.
4. Where there is no battery and no UPS there is nothing but mains.  A desktop whose USB-C ports are empty is one such.
5. A USB or wireless charger that is online means mains unless a battery is discharging: then it is too weak for the
   machine, or the port feeds a phone.
6. Where some supply could be online and none is, the machine is on battery, whatever a battery says: batteries report
   an unplugged cable seconds late.
7. A battery alone is believed when it charges or is full.  Anything unknown or unreadable counts as battery: the owner
   comes first.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from corpgrid.domain.device import PowerStatus

SYSFS_POWER = Path("/sys/class/power_supply")

_FED_FROM_OUTSIDE = frozenset({"Charging", "Full", "Not charging"})
_STORES = frozenset({"Battery", "UPS"})
_CHARGERS = ("USB", "Wireless", "BrickID")
_TEXT_BYTES_MAX = 256


@dataclass(frozen=True, slots=True)
class _Supply:
    """One folder of the tree; ``online`` is None where the supply has no such file, or one that cannot be read."""

    kind: str
    online: bool | None
    status: str
    capacity_percent: float | None
    energy_full: float


class LinuxPower:
    """The ``PowerProbe`` of Linux; ``root`` may be any tree of the same form."""

    def __init__(self, root: Path = SYSFS_POWER) -> None:
        self._root = root

    def read(self) -> PowerStatus:
        """Now."""
        return read(self._root)


def read(root: Path) -> PowerStatus:
    """What the tree under ``root`` says.  No tree means no battery; one that cannot be listed may hold one."""
    try:
        folders = sorted(root.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return PowerStatus()
    except OSError:
        return PowerStatus(on_ac_power=False)
    supplies = [supply for folder in folders if (supply := _supply(folder)) is not None]
    stores = [supply for supply in supplies if supply.kind in _STORES]
    return PowerStatus(on_ac_power=_on_mains(supplies, stores), battery_percent=_percent(stores))


def _on_mains(supplies: list[_Supply], stores: list[_Supply]) -> bool:
    if any(store.kind == "UPS" and store.status == "Discharging" for store in stores):
        return False
    if not stores or any(supply.kind == "Mains" and supply.online for supply in supplies):
        return True
    discharging = any(store.status == "Discharging" for store in stores)
    feeds = [supply for supply in supplies if supply.kind not in _STORES or supply.online is not None]
    if feeds:
        return not discharging and any(feed.online for feed in feeds)
    return not discharging and any(store.status in _FED_FROM_OUTSIDE for store in stores)


def _percent(stores: list[_Supply]) -> float | None:
    """Charge of all batteries together, weighted by their size where every one of them tells it."""
    told = [(store.capacity_percent, store.energy_full) for store in stores if store.capacity_percent is not None]
    if not told:
        return None
    sized = all(full > 0.0 for _, full in told)
    weights = [full if sized else 1.0 for _, full in told]
    charged = sum(percent * weight for (percent, _), weight in zip(told, weights, strict=True))
    return charged / sum(weights)


def _supply(folder: Path) -> _Supply | None:
    """One supply, or None where it says nothing of the machine."""
    kind = _text(folder / "type")
    is_store = kind in _STORES
    if not (is_store or kind == "Mains" or kind.startswith(_CHARGERS)):
        return None
    if _text(folder / "scope") == "Device" or (is_store and _text(folder / "present") == "0"):
        return None
    online = _number(folder / "online")
    percent = _number(folder / "capacity") if is_store else None
    return _Supply(
        kind=kind,
        online=None if online is None else online > 0.0,  # 2 is a programmable USB-C supply
        status=_text(folder / "status"),
        capacity_percent=None if percent is None else min(max(percent, 0.0), 100.0),
        energy_full=_number(folder / "energy_full") or 0.0,
    )


def _text(path: Path) -> str:
    """The file's only line, or nothing: a file that is gone, refused or garbage is no answer."""
    try:
        with path.open("rb") as file:
            return file.read(_TEXT_BYTES_MAX).decode("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _number(path: Path) -> float | None:
    try:
        return float(int(_text(path)))
    except ValueError:
        return None
