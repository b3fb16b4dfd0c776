"""What the machine is, and what of it is lent."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpgrid.domain.device import Gpu
from corpgrid.host import detect
from corpgrid.host.clock import SystemClock
from corpgrid.host.detect import Lent, MachineFacts
from corpgrid.host.thermal_none import NoThermal


class NoGpus:
    """A machine without GPUs."""

    def gpus(self) -> tuple[Gpu, ...]:
        return ()


def facts(lent: Lent) -> MachineFacts:
    return MachineFacts(
        lent=lent,
        python="3.11",
        engines=("python",),
        sandbox="bubblewrap",
        gpus=NoGpus(),
        thermal=NoThermal(),
        agent_version="1.2.3",
        labels=("lab",),
    )


def test_a_machine_says_what_it_is_and_what_it_was_told(tmp_path: Path) -> None:
    found = facts(Lent(folder=tmp_path / "not" / "made" / "yet")).facts()
    assert (found.python, found.engines, found.sandbox) == ("3.11", ("python",), "bubblewrap")
    assert (found.labels, found.agent_version, found.gpus) == (("lab",), "1.2.3", ())
    assert found.operating_system == {"linux": "linux", "darwin": "macos", "win32": "windows"}[sys.platform]
    assert found.hostname
    assert 1 <= found.cpus <= (os.cpu_count() or 1)
    assert 0 < found.memory_bytes <= psutil.virtual_memory().total
    assert 0 < found.disk_free_bytes <= shutil.disk_usage(tmp_path).total


def test_no_more_is_offered_than_is_lent(tmp_path: Path) -> None:
    found = facts(Lent(folder=tmp_path, cpus=1, memory_bytes=1 << 20, disk_bytes=2 << 20)).facts()
    assert (found.cpus, found.memory_bytes, found.disk_free_bytes) == (1, 1 << 20, 2 << 20)


@given(st.integers(0, 1 << 50), st.integers(0, 1 << 50))
def test_what_is_offered_is_there_and_lent(there: int, lent: int) -> None:
    offered = detect.lent_of(there, lent)
    assert offered <= there
    assert offered == there if lent == 0 else offered <= lent


@pytest.mark.parametrize(
    ("machine", "name"),
    [
        ("x86_64", "x86_64"),
        ("AMD64", "x86_64"),
        ("amd64", "x86_64"),
        ("arm64", "arm64"),
        ("ARM64", "arm64"),
        ("aarch64", "arm64"),
        ("riscv64", "riscv64"),
    ],
)
def test_architectures_have_one_name_each(machine: str, name: str) -> None:
    assert detect.architecture(machine) == name


@pytest.mark.parametrize(
    ("system", "name"), [("Linux", "linux"), ("Darwin", "macos"), ("Windows", "windows"), ("FreeBSD", "freebsd")]
)
def test_operating_systems_have_one_name_each(system: str, name: str) -> None:
    assert detect.operating_system(system) == name


@pytest.mark.parametrize(
    ("files", "share"),
    [
        ({"cpu.max": "100000 100000"}, 1),
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu.max": "max 100000"}, None),
        ({"cpu.max": "garbage"}, None),
        ({"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "100000"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ({"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "0"}, None),
        ({}, None),
    ],
)
def test_a_containers_quota_counts_as_its_cores(tmp_path: Path, files: dict[str, str], share: int | None) -> None:
    write(tmp_path, files)
    unlimited = detect.cpus(tmp_path / "no cgroups")
    assert detect.cpus(tmp_path) == (unlimited if share is None else share)


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({"memory.max": "1048576"}, 1 << 20),
        ({"memory.max": "max"}, None),
        ({"memory/memory.limit_in_bytes": "2097152"}, 2 << 20),
        ({"memory/memory.limit_in_bytes": "9223372036854771712"}, None),
        ({"memory.max": "4194304", "memory/memory.limit_in_bytes": "2097152"}, 2 << 20),
        ({}, None),
    ],
)
def test_a_containers_memory_limit_counts(tmp_path: Path, files: dict[str, str], limit: int | None) -> None:
    write(tmp_path, files)
    assert detect.memory_bytes(tmp_path) == (psutil.virtual_memory().total if limit is None else limit)


def write(root: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content + "\n")


def test_the_clock_moves_forward_and_agrees_with_the_system(tmp_path: Path) -> None:
    clock = SystemClock()
    ticks = [clock.monotonic() for _ in range(100)]
    assert ticks == sorted(ticks)
    stamp = tmp_path / "now"
    before = clock.now()
    stamp.touch()
    assert before - 1.0 <= stamp.stat().st_mtime <= clock.now() + 1.0
