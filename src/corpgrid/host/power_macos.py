"""Mains or battery on macOS, from IOKit's list of power sources.

Rules:

* What feeds the machine is ``IOPSGetProvidingPowerSourceType``: ``AC Power``, ``Battery Power`` or ``UPS Power``.  Only
  the first is mains; a Mac on a UPS that took over is not.
* A Mac whose sources cannot be read counts as on battery: the owner comes first.
* ``parse`` decides, ``_ask`` calls.  ``parse`` is tested over recorded answers; ``_ask`` was written from Apple's
  headers and has not been run on a Mac.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import NamedTuple

from corpgrid.domain.device import PowerStatus

_FRAMEWORKS = "/System/Library/Frameworks"
_UTF8 = 0x08000100
_INT64 = 4  # kCFNumberSInt64Type
_TEXT_BYTES_MAX = 256


class Source(NamedTuple):
    """One battery, or a UPS, as IOKit describes it."""

    kind: str
    present: bool
    capacity: int
    capacity_max: int


class MacPower:
    """The ``PowerProbe`` of macOS."""

    def read(self) -> PowerStatus:
        """Now."""
        return parse(*_ask())


def parse(providing: str, sources: Sequence[Source]) -> PowerStatus:
    """Apply the module's rules to IOKit's answer."""
    batteries = [source for source in sources if source.kind == "InternalBattery" and source.present]
    full = sum(battery.capacity_max for battery in batteries)
    charged = sum(battery.capacity for battery in batteries)
    return PowerStatus(
        on_ac_power=providing == "AC Power",
        battery_percent=min(max(100.0 * charged / full, 0.0), 100.0) if full > 0 else None,
    )


def _ask() -> tuple[str, list[Source]]:  # pragma: no cover - needs a Mac
    """What provides power, and every source."""
    foundation = _CoreFoundation()
    iokit = ctypes.CDLL(f"{_FRAMEWORKS}/IOKit.framework/IOKit")
    pointer = ctypes.c_void_p
    copy_info, providing = iokit.IOPSCopyPowerSourcesInfo, iokit.IOPSGetProvidingPowerSourceType
    copy_list, describe = iokit.IOPSCopyPowerSourcesList, iokit.IOPSGetPowerSourceDescription
    for function, arguments in ((copy_info, 0), (providing, 1), (copy_list, 1), (describe, 2)):
        function.restype, function.argtypes = pointer, [pointer] * arguments
    info = copy_info()
    if not info:
        return "", []
    listed = copy_list(info)
    try:
        described = [describe(info, item) for item in foundation.items(listed)]
        return foundation.text(providing(info)), [_source(foundation, one) for one in described if one]
    finally:
        foundation.release(listed)
        foundation.release(info)


def _source(foundation: _CoreFoundation, description: int) -> Source:  # pragma: no cover - needs a Mac
    return Source(
        kind=foundation.text(foundation.value(description, "Type")),
        present=bool(foundation.truth(foundation.value(description, "Is Present"))),
        capacity=foundation.number(foundation.value(description, "Current Capacity")),
        capacity_max=foundation.number(foundation.value(description, "Max Capacity")),
    )


class _CoreFoundation:  # pragma: no cover - needs a Mac
    """The few functions of CoreFoundation that read a property list.  What they return is borrowed."""

    def __init__(self) -> None:
        library = ctypes.CDLL(f"{_FRAMEWORKS}/CoreFoundation.framework/CoreFoundation")
        pointer, index, boolean = ctypes.c_void_p, ctypes.c_long, ctypes.c_ubyte
        signatures = {
            "CFRelease": (None, [pointer]),
            "CFArrayGetCount": (index, [pointer]),
            "CFArrayGetValueAtIndex": (pointer, [pointer, index]),
            "CFBooleanGetValue": (boolean, [pointer]),
            "CFDictionaryGetValue": (pointer, [pointer, pointer]),
            "CFNumberGetValue": (boolean, [pointer, index, pointer]),
            "CFStringCreateWithCString": (pointer, [pointer, ctypes.c_char_p, ctypes.c_uint32]),
            "CFStringGetCString": (boolean, [pointer, ctypes.c_char_p, index, ctypes.c_uint32]),
        }
        for name, (result, arguments) in signatures.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
        self._library = library

    def release(self, thing: int | None) -> None:
        if thing:
            self._library.CFRelease(thing)

    def items(self, array: int | None) -> list[int]:
        if not array:
            return []
        count: int = self._library.CFArrayGetCount(array)
        return [self._library.CFArrayGetValueAtIndex(array, position) for position in range(count)]

    def value(self, dictionary: int, key: str) -> int | None:
        name = self._library.CFStringCreateWithCString(None, key.encode(), _UTF8)
        try:
            found: int | None = self._library.CFDictionaryGetValue(dictionary, name)
            return found
        finally:
            self.release(name)

    def text(self, string: int | None) -> str:
        buffer = ctypes.create_string_buffer(_TEXT_BYTES_MAX)
        if not string or not self._library.CFStringGetCString(string, buffer, len(buffer), _UTF8):
            return ""
        return buffer.value.decode()

    def number(self, value: int | None) -> int:
        out = ctypes.c_int64()
        if not value or not self._library.CFNumberGetValue(value, _INT64, ctypes.byref(out)):
            return 0
        return out.value

    def truth(self, value: int | None) -> bool:
        return bool(value) and bool(self._library.CFBooleanGetValue(value))
