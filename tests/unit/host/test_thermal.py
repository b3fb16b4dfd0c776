"""How warm the machine is, over trees of the forms that real machines have."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpgrid.host import thermal_linux
from corpgrid.host.thermal_linux import LinuxThermal, Reading
from corpgrid.host.thermal_none import NoThermal

TREES = Path(__file__).parents[2] / "data" / "sysfs"


@pytest.mark.parametrize(
    ("tree", "headroom"),
    [
        ("thinkpad-plugged", (100 - 52) / 70),  # the package sensor, not the zone whose limit is 128
        ("desktop", (95 - 43.5) / 65),  # AMD names no limit; the GPU is cooler
        ("hot", (100 - 93) / 70),
        ("over-limit", 0.0),
        ("garbage", 1.0),
        ("usb-c-plugged", 1.0),
        ("no-such-tree", 1.0),
    ],
)
def test_the_warmest_sensor_decides(tree: str, headroom: float) -> None:
    assert LinuxThermal(TREES / tree).headroom() == pytest.approx(headroom)


def test_limits_that_nobody_can_believe_are_passed_over() -> None:
    limits = {reading.limit_celsius for reading in thermal_linux.readings(TREES / "thinkpad-plugged")}
    assert limits == {100.0, 128.0, 87.85}


@given(st.floats(-40, 150), st.floats(-40, 150), st.floats(50, 130))
def test_headroom_is_a_share_and_falls_as_it_gets_warmer(one: float, other: float, limit: float) -> None:
    cooler, warmer = sorted((one, other))
    assert 0.0 <= Reading(warmer, limit).headroom <= Reading(cooler, limit).headroom <= 1.0


@given(st.floats(50, 130))
def test_headroom_ends_at_the_limit_and_is_whole_when_cold(limit: float) -> None:
    assert Reading(limit, limit).headroom == 0.0
    assert Reading(30.0, limit).headroom == 1.0


@given(content=st.binary(max_size=40), name=st.sampled_from(["temp1_input", "temp1_crit", "name"]))
def test_no_content_of_a_file_breaks_the_probe(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, name: str
) -> None:
    root = tmp_path_factory.mktemp("sensors")
    chip = root / "hwmon" / "hwmon0"
    chip.mkdir(parents=True)
    for file, text in (("name", "coretemp"), ("temp1_input", "40000"), ("temp1_crit", "100000")):
        (chip / file).write_text(text)
    (chip / name).write_bytes(content)
    assert 0.0 <= LinuxThermal(root).headroom() <= 1.0


@pytest.mark.linux
def test_this_machine_can_be_asked() -> None:
    assert 0.0 <= LinuxThermal().headroom() <= 1.0


def test_where_no_sensor_tells_nothing_is_held_against_the_machine() -> None:
    assert NoThermal().headroom() == 1.0
