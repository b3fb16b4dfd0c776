"""Mains or battery on macOS and Windows, over answers of the forms that those systems give."""

from __future__ import annotations

import ctypes
import sys

import pytest

from corpgrid.domain.device import PowerStatus
from corpgrid.host import power_macos, power_windows
from corpgrid.host.power_macos import Source

BATTERY = Source(kind="InternalBattery", present=True, capacity=4_000, capacity_max=5_000)
UPS = Source(kind="UPS", present=True, capacity=100, capacity_max=100)


@pytest.mark.parametrize(
    ("providing", "sources", "expected"),
    [
        ("AC Power", [], PowerStatus()),
        ("AC Power", [BATTERY], PowerStatus(battery_percent=80.0)),
        ("Battery Power", [BATTERY], PowerStatus(on_ac_power=False, battery_percent=80.0)),
        ("UPS Power", [UPS], PowerStatus(on_ac_power=False)),
        ("AC Power", [UPS], PowerStatus()),
        ("AC Power", [BATTERY._replace(present=False)], PowerStatus()),
        ("AC Power", [BATTERY._replace(capacity=9_999)], PowerStatus(battery_percent=100.0)),
        ("AC Power", [BATTERY._replace(capacity_max=0)], PowerStatus()),
        ("", [], PowerStatus(on_ac_power=False)),
    ],
)
def test_a_mac_is_on_mains_only_when_it_says_so(providing: str, sources: list[Source], expected: PowerStatus) -> None:
    assert power_macos.parse(providing, sources) == expected


@pytest.mark.parametrize(
    ("line", "flag", "percent", "expected"),
    [
        (1, 128, 255, PowerStatus()),  # a desktop
        (255, 128, 255, PowerStatus()),  # a desktop whose firmware does not know
        (1, 8, 55, PowerStatus(battery_percent=55.0)),  # charging
        (1, 0, 101, PowerStatus(battery_percent=100.0)),
        (0, 0, 40, PowerStatus(on_ac_power=False, battery_percent=40.0)),
        (0, 4, 3, PowerStatus(on_ac_power=False, battery_percent=3.0)),
        (0, 1, 90, PowerStatus(on_ac_power=False, battery_percent=90.0)),
        (255, 0, 70, PowerStatus(on_ac_power=False, battery_percent=70.0)),
        (1, 255, 255, PowerStatus()),
        (255, 255, 255, PowerStatus(on_ac_power=False)),
    ],
)
def test_windows_is_on_mains_without_a_battery_or_when_it_says_so(
    line: int, flag: int, percent: int, expected: PowerStatus
) -> None:
    assert power_windows.parse(line=line, battery_flag=flag, battery_percent=percent) == expected


def test_the_structure_is_as_large_as_windows_has_it() -> None:
    assert ctypes.sizeof(power_windows.SystemPowerStatus) == 12


@pytest.mark.skipif(sys.platform == "win32", reason="Windows answers there")
def test_without_an_answer_windows_counts_as_on_battery() -> None:
    assert power_windows.WindowsPower().read() == PowerStatus(on_ac_power=False)
