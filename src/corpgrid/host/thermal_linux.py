"""How warm a Linux machine is, from trees like ``/sys/class/thermal`` and ``/sys/class/hwmon``.

Headroom is 1 at 30 degrees Celsius or below and 0 at a sensor's limit, in a straight line between; the warmest sensor
decides.

Rules:

* A sensor's limit is what its driver calls critical or hot (thermal zones: the lowest such trip point; hwmon: ``crit``,
  else ``max``).  AMD's processor sensors name none; theirs is 95 degrees.  A sensor without a limit tells nothing.
* Firmware invents numbers: temperatures outside -40 to 150 degrees and limits outside 50 to 130 are not believed.
* Without a sensor that tells something, headroom is 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

SYSFS = Path("/sys/class")

_COLD_CELSIUS = 30.0
_BELIEVED_CELSIUS = (-40.0, 150.0)
_BELIEVED_LIMIT_CELSIUS = (50.0, 130.0)
_LIMIT_CELSIUS_OF = {"k10temp": 95.0, "zenpower": 95.0}
_TRIPS = frozenset({"critical", "hot"})


class Reading(NamedTuple):
    """One sensor: its temperature and the limit at which the machine protects itself."""

    celsius: float
    limit_celsius: float

    @property
    def headroom(self) -> float:
        """0 (at its limit) to 1 (cold)."""
        share = (self.limit_celsius - self.celsius) / (self.limit_celsius - _COLD_CELSIUS)
        return min(max(share, 0.0), 1.0)


class LinuxThermal:
    """The ``ThermalProbe`` of Linux; ``root`` holds ``thermal`` and ``hwmon``."""

    def __init__(self, root: Path = SYSFS) -> None:
        self._root = root

    def headroom(self) -> float:
        """Now."""
        return min((reading.headroom for reading in readings(self._root)), default=1.0)


def readings(root: Path) -> Iterator[Reading]:
    """Every sensor under ``root`` that can be believed."""
    for celsius, limit in (*_zones(root / "thermal"), *_chips(root / "hwmon")):
        if celsius is None or limit is None:
            continue
        if _within(celsius, _BELIEVED_CELSIUS) and _within(limit, _BELIEVED_LIMIT_CELSIUS):
            yield Reading(celsius, limit)


def _zones(root: Path) -> Iterator[tuple[float | None, float | None]]:
    for zone in sorted(root.glob("thermal_zone*")):
        yield _celsius(zone / "temp"), _lowest_trip(zone)


def _lowest_trip(zone: Path) -> float | None:
    kinds = (kind for kind in zone.glob("trip_point_*_type") if _text(kind) in _TRIPS)
    trips = (_celsius(kind.with_name(kind.name.replace("_type", "_temp"))) for kind in kinds)
    return min((trip for trip in trips if trip is not None and _within(trip, _BELIEVED_LIMIT_CELSIUS)), default=None)


def _chips(root: Path) -> Iterator[tuple[float | None, float | None]]:
    for chip in sorted(root.glob("hwmon*")):
        name = _text(chip / "name")
        for sensor in sorted(chip.glob("temp*_input")):
            yield _celsius(sensor), _chip_limit(sensor, name)


def _chip_limit(sensor: Path, chip_name: str) -> float | None:
    """The first limit that can be believed."""
    stated = (_celsius(sensor.with_name(sensor.name.replace("_input", end))) for end in ("_crit", "_max"))
    believed = (limit for limit in stated if limit is not None and _within(limit, _BELIEVED_LIMIT_CELSIUS))
    return next(believed, _LIMIT_CELSIUS_OF.get(chip_name))


def _within(value: float, bounds: tuple[float, float]) -> bool:
    low, high = bounds
    return low <= value <= high


def _celsius(path: Path) -> float | None:
    """The kernel writes thousandths of a degree."""
    try:
        return int(_text(path)) / 1000
    except ValueError:
        return None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
