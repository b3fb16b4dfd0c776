"""Mains or battery on Windows, from ``GetSystemPowerStatus``.

Rules:

* A machine without a battery is on mains, whatever else it says.
* With a battery only ``ACLineStatus`` 1 is mains.  Where Windows does not know, or does not answer, it counts as
  battery: the owner comes first.
* A UPS with a USB cable is a battery to Windows, so a power cut shows.
* ``parse`` decides, ``_ask`` calls.  ``_ask`` was run with a Windows build of Python under Wine, not on a Windows
  machine.
"""

from __future__ import annotations

import ctypes
import sys

from corpgrid.domain.device import PowerStatus

_ONLINE = 1
_NO_BATTERY = 128
_UNKNOWN = 255


class SystemPowerStatus(ctypes.Structure):
    """Windows' ``SYSTEM_POWER_STATUS``, 12 bytes."""

    _fields_ = (
        ("line", ctypes.c_ubyte),
        ("battery_flag", ctypes.c_ubyte),
        ("battery_percent", ctypes.c_ubyte),
        ("system_flag", ctypes.c_ubyte),
        ("battery_seconds", ctypes.c_uint32),
        ("battery_full_seconds", ctypes.c_uint32),
    )


class WindowsPower:
    """The ``PowerProbe`` of Windows."""

    def read(self) -> PowerStatus:
        """Now."""
        status = _ask()
        if status is None:
            return PowerStatus(on_ac_power=False)
        return parse(line=status.line, battery_flag=status.battery_flag, battery_percent=status.battery_percent)


def parse(*, line: int, battery_flag: int, battery_percent: int) -> PowerStatus:
    """Apply the module's rules to the fields of ``SYSTEM_POWER_STATUS``."""
    if battery_flag != _UNKNOWN and battery_flag & _NO_BATTERY:
        return PowerStatus()
    percent = None if battery_percent == _UNKNOWN else float(min(battery_percent, 100))
    return PowerStatus(on_ac_power=line == _ONLINE, battery_percent=percent)


def _ask() -> SystemPowerStatus | None:  # pragma: no cover - needs Windows
    """What Windows says, or None where it says nothing."""
    answered = False
    status = SystemPowerStatus()
    if sys.platform == "win32":
        answered = bool(ctypes.WinDLL("kernel32").GetSystemPowerStatus(ctypes.byref(status)))
    return status if answered else None
