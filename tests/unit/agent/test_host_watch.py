"""Who cannot look must not work: a probe that fails or hangs blocks work until it answers again."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from corpgrid.agent import host_watch
from corpgrid.agent.host_watch import HostWatch, Probes
from corpgrid.domain.availability import OwnerPolicy
from corpgrid.domain.device import PowerStatus
from corpgrid.host.clock import SystemClock


class Machine:
    """Probes that do as they are told."""

    def __init__(self) -> None:
        self.power = PowerStatus()
        self.error: Exception | None = None
        self.answers = threading.Event()
        self.answers.set()

    def read(self) -> PowerStatus:
        self.answers.wait(20)
        if self.error is not None:
            raise self.error
        return self.power

    def idle_seconds(self) -> None:
        return None

    def headroom(self) -> float:
        return 1.0


@pytest.fixture
def machine():
    made = Machine()
    yield made
    made.answers.set()


@pytest.fixture
def watch(machine: Machine, tmp_path: Path) -> HostWatch:
    probes = Probes(power=machine, presence=machine, thermal=machine, disk_free_bytes=lambda _: 1 << 30)
    policy = OwnerPolicy(mains_settle_seconds=0)
    return HostWatch(probes, policy, SystemClock(), folder=tmp_path, period_seconds=0.01)


async def seen_by(watch: HostWatch, steps):
    """What ``watch`` says, change by change, while ``steps`` happen one after each."""
    said: asyncio.Queue = asyncio.Queue()
    watching = asyncio.create_task(watch.run(said.put_nowait))
    found = []
    try:
        for step in [*steps, None]:
            host = await asyncio.wait_for(said.get(), 10)
            found.append((host.allows_work, host.reason))
            if step is not None:
                step()
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    return found


async def test_a_change_of_power_is_told_both_ways(watch: HostWatch, machine: Machine):
    def plug(*, mains: bool):
        machine.power = PowerStatus(on_ac_power=mains)

    found = await seen_by(watch, [lambda: plug(mains=False), lambda: plug(mains=True)])
    assert found == [(True, ""), (False, "battery"), (True, "")]


async def test_a_probe_that_fails_blocks_work_until_it_answers_again(watch: HostWatch, machine: Machine, caplog):
    def fail(error: Exception | None):
        machine.error = error

    found = await seen_by(watch, [lambda: fail(OSError("no such device")), lambda: fail(None)])
    assert found == [(True, ""), (False, "probes_silent"), (True, "")]
    assert caplog.text.count("no such device") == 1


async def test_a_probe_that_hangs_blocks_work_until_it_answers_again(watch: HostWatch, machine: Machine, monkeypatch):
    monkeypatch.setattr(host_watch, "SILENT_SECONDS", 0.1)
    found = await seen_by(watch, [machine.answers.clear, machine.answers.set])
    assert found == [(True, ""), (False, "probes_silent"), (True, "")]


@pytest.mark.parametrize(("text", "allowed"), [("", False), ("1e12", False), ("1", True), ("soon", False)])
async def test_an_owners_pause_is_a_file(watch: HostWatch, tmp_path: Path, text: str, allowed):
    (tmp_path / "paused").write_text(text)
    assert (await watch.first()).allows_work is allowed
