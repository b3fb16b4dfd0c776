"""What every probe promises, whatever it finds: an answer in range, at once, on any machine.

All adapters run here on the system at hand.  Those of another system find nothing, and must then answer for the owner:
on battery, somebody there.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from corpgrid.domain.device import Facts, Gpu, PowerStatus
from corpgrid.host.clock import SystemClock
from corpgrid.host.detect import Lent, MachineFacts
from corpgrid.host.gpu_dxgi import DxgiGpus
from corpgrid.host.gpu_metal import MetalGpus
from corpgrid.host.gpu_nvml import NvmlGpus
from corpgrid.host.power_linux import LinuxPower
from corpgrid.host.power_windows import WindowsPower
from corpgrid.host.presence_file import FilePresence
from corpgrid.host.presence_linux import LinuxPresence
from corpgrid.host.presence_macos import MacPresence
from corpgrid.host.presence_windows import WindowsPresence
from corpgrid.host.thermal_linux import LinuxThermal
from corpgrid.host.thermal_none import NoThermal
from corpgrid.ports.host import Clock, FactsProbe, GpuProbe, PowerProbe, PresenceProbe, ThermalProbe

HERE = {"linux": "Linux", "darwin": "Mac", "win32": "Windows"}[sys.platform]
POWER: list[PowerProbe] = [LinuxPower(), WindowsPower()]
PRESENCE: list[PresenceProbe] = [
    LinuxPresence(clock=SystemClock(), environ={}),
    MacPresence(),
    WindowsPresence(),
    FilePresence(Path("/no/such/file")),
]
THERMAL: list[ThermalProbe] = [LinuxThermal(), NoThermal()]
GPUS: list[GpuProbe] = [NvmlGpus(), MetalGpus(), DxgiGpus()]


def kind(probe: object) -> str:
    return type(probe).__name__


@pytest.mark.parametrize("probe", POWER, ids=kind)
def test_power_is_known_or_taken_as_battery(probe: PowerProbe) -> None:
    status = probe.read()
    assert isinstance(status, PowerStatus)
    assert status.battery_percent is None or 0.0 <= status.battery_percent <= 100.0
    if kind(probe) == "WindowsPower" and HERE != "Windows":
        assert not status.on_ac_power


@pytest.mark.parametrize("probe", PRESENCE, ids=kind)
def test_presence_is_known_or_taken_as_somebody_there(probe: PresenceProbe) -> None:
    idle = probe.idle_seconds()
    assert idle is None or idle >= 0.0
    if not kind(probe).startswith(HERE):
        assert idle == 0.0


@pytest.mark.parametrize("probe", THERMAL, ids=kind)
def test_headroom_is_a_share(probe: ThermalProbe) -> None:
    assert 0.0 <= probe.headroom() <= 1.0


@pytest.mark.parametrize("probe", GPUS, ids=kind)
def test_every_gpu_has_a_name_and_memory(probe: GpuProbe) -> None:
    for gpu in probe.gpus():
        assert isinstance(gpu, Gpu)
        assert gpu.backend in {"cuda", "metal", "vulkan"}
        assert gpu.name
        assert gpu.uuid
        assert gpu.vram_bytes > 0


def test_facts_are_those_of_a_machine_that_can_work(tmp_path: Path) -> None:
    probe: FactsProbe = MachineFacts(
        lent=Lent(folder=tmp_path),
        python="3.11",
        engines=("python",),
        sandbox="bubblewrap",
        gpus=NvmlGpus(),
        thermal=LinuxThermal(),
        agent_version="1",
    )
    facts = probe.facts()
    assert isinstance(facts, Facts)
    assert facts.cpus >= 1
    assert facts.memory_bytes > 0
    assert facts.disk_free_bytes > 0


def test_the_clock_does_not_run_backwards() -> None:
    clock: Clock = SystemClock()
    assert clock.monotonic() <= clock.monotonic()
    assert clock.now() > 1_600_000_000
