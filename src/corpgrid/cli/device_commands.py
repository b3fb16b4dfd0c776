"""``corpgrid device``: list, show, pause, resume, drain, quarantine, revoke, why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from corpgrid.cli.context import Context, grid_options
from corpgrid.cli.explanation import print_explanation
from corpgrid.domain.device import Device, DeviceState
from corpgrid.domain.reputation import mean, tier


@click.group("device")
def device_group() -> None:
    """See the devices of the grid, pause them, ask why they idle."""


def device_row(device: Device) -> dict[str, Any]:
    """A device as a row."""
    facts = device.facts
    return {
        "id": device.id,
        "name": device.name,
        "owner": device.owner,
        "site": device.site,
        "state": device.state.value,
        "reason": device.reason,
        "host": _host(device),
        "blockers": list(device.blockers),
        "trusted": device.trusted,
        "leased": device.leased,
        "capacity": device.capacity,
        "completed": device.completed,
        "correctness": tier(device.correctness).value,
        "correctness_mean": mean(device.correctness),
        "availability_mean": mean(device.availability),
        "on_ac_power": device.power.on_ac_power,
        "battery_percent": device.power.battery_percent,
        "operating_system": facts.operating_system,
        "architecture": facts.architecture,
        "python": facts.python,
        "engines": list(facts.engines),
        "sandbox": facts.sandbox,
        "cpus": facts.cpus,
        "memory_bytes": facts.memory_bytes,
        "disk_free_bytes": facts.disk_free_bytes,
        "gpus": [gpu.name for gpu in facts.gpus],
        "labels": list(facts.labels),
        "agent_version": facts.agent_version,
        "last_seen": device.last_seen,
        "registered_at": device.registered_at,
    }


def _host(device: Device) -> str:
    """Whether the machine allows work at this moment, or what speaks against it."""
    blockers = device.blockers or (() if device.power.on_ac_power else ("battery",))
    return ", ".join(blockers) or "allows work"


@device_group.command("list")
@grid_options
def list_devices(context: Context) -> None:
    """List devices."""
    with context.grid() as grid:
        rows = [device_row(device) for device in grid.devices()]
    context.renderer.rows(
        rows,
        columns=("id", "name", "owner", "state", "host", "leased", "completed", "correctness"),
        empty="no devices yet; start one with: corpgrid agent run",
    )


@device_group.command("show")
@click.argument("device")
@grid_options
def show(context: Context, device: str) -> None:
    """Show one DEVICE."""
    with context.grid() as grid:
        context.renderer.facts(device_row(grid.device(device)))


@device_group.command("why")
@click.argument("device")
@grid_options
def why(context: Context, device: str) -> None:
    """Say why a DEVICE has no work."""
    with context.grid() as grid:
        print_explanation(context.renderer, grid.why_device(device))


def _setter(name: str, state: DeviceState, text: str) -> Callable[..., None]:
    @device_group.command(name, help=text)
    @click.argument("device")
    @click.option("--reason", default="", help="Kept in the audit log, and shown to who asks why.")
    @grid_options
    def command(context: Context, device: str, *, reason: str) -> None:
        with context.grid() as grid:
            context.renderer.facts(device_row(grid.set_device(device, state, reason)))

    return command


pause = _setter("pause", DeviceState.PAUSED, "Stop all work on a DEVICE until it is resumed.")
resume = _setter("resume", DeviceState.ACTIVE, "Let a paused or draining DEVICE work again.")
drain = _setter("drain", DeviceState.DRAINING, "Let a DEVICE finish what it has, and give it nothing new.")
quarantine = _setter(
    "quarantine", DeviceState.QUARANTINED, "Take a DEVICE out for good, and run its unchecked work again."
)
revoke = _setter("revoke", DeviceState.REVOKED, "Take a DEVICE out for good because it left the company.")
