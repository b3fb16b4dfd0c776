"""Mains or battery on Linux, over trees of the forms that real machines have."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpgrid.domain.device import PowerStatus
from corpgrid.host import power_linux
from corpgrid.host.power_linux import LinuxPower

TREES = Path(__file__).parents[2] / "data" / "sysfs"
CHARGERS = ("Mains", "USB", "USB_PD", "Wireless")
STATUSES = ("Charging", "Discharging", "Full", "Not charging", "Unknown", "")


def write(root: Path, supplies: dict[str, dict[str, str]]) -> Path:
    for name, files in supplies.items():
        (root / name).mkdir(parents=True)
        for file, content in files.items():
            (root / name / file).write_text(content + "\n")
    return root


@pytest.mark.parametrize(
    ("tree", "on_mains", "percent"),
    [
        ("desktop", True, None),
        ("desktop-usb-c", True, None),
        ("desktop-mouse", True, None),
        ("desktop-ups-mains", True, 100.0),
        ("desktop-ups-battery", False, 80.0),
        ("thinkpad-plugged", True, 80.0),
        ("thinkpad-unplugged", False, 76.0),
        ("thinkpad-just-unplugged", False, 76.0),
        ("thinkpad-two-batteries-plugged", True, 62.5),
        ("thinkpad-two-batteries-unplugged", False, 62.5),
        ("thinkpad-empty-slot", True, 40.0),
        ("laptop-on-ups-in-outage", False, 80.0),
        ("laptop-mouse-unplugged", False, 44.0),
        ("usb-c-plugged", True, 61.0),
        ("usb-c-programmable", True, 100.0),
        ("usb-c-unplugged", False, 61.0),
        ("usb-c-weak-charger", False, 30.0),
        ("tablet-charging", True, 20.0),
        ("tablet-full", True, 100.0),
        ("tablet-discharging", False, 90.0),
        ("tablet-unknown", False, 90.0),
        ("garbage", False, None),
        ("no-such-tree", True, None),
    ],
)
def test_a_machine_is_read_as_what_feeds_it(tree: str, *, on_mains: bool, percent: float | None) -> None:
    status = LinuxPower(TREES / tree / "power_supply").read()
    assert status == PowerStatus(on_ac_power=on_mains, battery_percent=percent)


def test_every_tree_with_supplies_is_tested() -> None:
    source = Path(__file__).read_text()
    assert {tree.parent.name for tree in TREES.glob("*/power_supply")} - {"hot"} <= set(source.split('"'))


@pytest.mark.parametrize(("charger", "status"), list(itertools.product(CHARGERS, STATUSES)))
def test_a_cable_that_is_pulled_shows_at_once_whatever_the_battery_says(
    tmp_path: Path, charger: str, status: str
) -> None:
    battery = {"type": "Battery", "status": status, "present": "1"}
    write(tmp_path, {"AC": {"type": charger, "online": "0"}, "BAT0": battery})
    assert not power_linux.read(tmp_path).on_ac_power


@pytest.mark.parametrize("status", STATUSES)
def test_a_mains_adapter_that_is_online_is_mains(tmp_path: Path, status: str) -> None:
    write(tmp_path, {"AC": {"type": "Mains", "online": "1"}, "BAT0": {"type": "Battery", "status": status}})
    assert power_linux.read(tmp_path).on_ac_power


@pytest.mark.parametrize("damaged", ["online", "present", "capacity", "energy_full"])
@pytest.mark.parametrize("tree", sorted(path.parent.name for path in TREES.glob("*/power_supply")))
def test_what_cannot_be_read_never_makes_mains_out_of_battery(tmp_path: Path, tree: str, damaged: str) -> None:
    whole = TREES / tree / "power_supply"
    for file in whole.glob("*/*"):
        copy = tmp_path / file.relative_to(whole)
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes(b"\xff\xfe" if file.name == damaged else file.read_bytes())
    assert power_linux.read(tmp_path).on_ac_power <= power_linux.read(whole).on_ac_power


@given(
    content=st.binary(max_size=300), name=st.sampled_from(["type", "online", "status", "capacity", "present", "scope"])
)
def test_no_content_of_a_file_breaks_the_probe(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, name: str
) -> None:
    root = write(
        tmp_path_factory.mktemp("supplies"),
        {
            "AC": {"type": "Mains", "online": "0"},
            "BAT0": {"type": "Battery", "status": "Discharging", "capacity": "50"},
        },
    )
    (root / "BAT0" / name).write_bytes(content)
    percent = power_linux.read(root).battery_percent
    assert percent is None or 0.0 <= percent <= 100.0


def test_a_supply_may_be_a_link_and_may_vanish_while_it_is_read(tmp_path: Path) -> None:
    write(tmp_path / "devices", {"ac": {"type": "Mains", "online": "1"}, "bat": {"type": "Battery", "status": "Full"}})
    root = tmp_path / "class"
    root.mkdir()
    for name in ("ac", "bat", "gone"):
        (root / name).symlink_to(tmp_path / "devices" / name)
    (root / "a-file").write_text("not a folder")
    assert power_linux.read(root) == PowerStatus()


def test_reading_costs_at_most_a_millisecond() -> None:
    root = TREES / "usb-c-plugged" / "power_supply"
    best = min(_seconds_to_read(root) for _ in range(50))
    assert best < 1e-3


def _seconds_to_read(root: Path) -> float:
    start = time.perf_counter()
    power_linux.read(root)
    return time.perf_counter() - start


@pytest.mark.linux
def test_this_machine_can_be_asked() -> None:
    status = LinuxPower().read()
    assert status.on_ac_power in {True, False}
    if not any(power_linux.SYSFS_POWER.glob("*")):
        assert status == PowerStatus()
