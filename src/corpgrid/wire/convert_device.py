"""Devices and what they say of themselves, between values and protobuf.

A device's row travels without the digest of its session's secret: that is the scheduler's alone.
"""

from __future__ import annotations

from corpgrid.domain.device import Device, DeviceState, Facts, Gpu, PowerStatus
from corpgrid.domain.ids import DeviceId, OwnerId, SiteId
from corpgrid.domain.reputation import Beta
from corpgrid.wire import convert_checks as check
from corpgrid.wire.v1 import scheduler_pb2 as pb

DEVICE_STATES = check.Words(DeviceState, pb.DeviceState, "DEVICE_STATE")


def power_to_wire(power: PowerStatus) -> pb.PowerStatus:
    """What a power probe saw."""
    return pb.PowerStatus(on_ac_power=power.on_ac_power, battery_percent=power.battery_percent)


def power_from_wire(message: pb.PowerStatus) -> PowerStatus:
    """What a power probe saw."""
    percent = check.finite(message.battery_percent, "battery_percent")
    return PowerStatus(
        on_ac_power=message.on_ac_power,
        battery_percent=percent if message.HasField("battery_percent") else None,
    )


def facts_to_wire(facts: Facts) -> pb.Facts:
    """What a device is."""
    return pb.Facts(
        hostname=facts.hostname,
        operating_system=facts.operating_system,
        architecture=facts.architecture,
        python=facts.python,
        engines=facts.engines,
        sandbox=facts.sandbox,
        cpus=facts.cpus,
        memory_bytes=facts.memory_bytes,
        disk_free_bytes=facts.disk_free_bytes,
        gpus=[_gpu_to_wire(gpu) for gpu in facts.gpus],
        labels=facts.labels,
        thermal_headroom=facts.thermal_headroom,
        agent_version=facts.agent_version,
    )


def facts_from_wire(message: pb.Facts) -> Facts:
    """What a device is."""
    return Facts(
        hostname=check.text(message.hostname, "hostname"),
        operating_system=check.text(message.operating_system, "operating_system"),
        architecture=check.text(message.architecture, "architecture"),
        python=check.text(message.python, "python"),
        engines=tuple(check.text(engine, "engine") for engine in message.engines),
        sandbox=check.text(message.sandbox, "sandbox"),
        cpus=message.cpus,
        memory_bytes=message.memory_bytes,
        disk_free_bytes=message.disk_free_bytes,
        gpus=tuple(_gpu_from_wire(gpu) for gpu in message.gpus),
        labels=tuple(check.text(label, "label") for label in message.labels),
        thermal_headroom=check.finite(message.thermal_headroom, "thermal_headroom"),
        agent_version=check.text(message.agent_version, "agent_version"),
    )


def device_to_wire(device: Device) -> pb.Device:
    """A device's row, without its session."""
    return pb.Device(
        id=device.id,
        public_key=device.public_key,
        owner=device.owner,
        site=device.site,
        state=DEVICE_STATES.number[device.state],
        reason=device.reason,
        trusted=device.trusted,
        name=device.name,
        facts=facts_to_wire(device.facts),
        power=power_to_wire(device.power),
        blockers=device.blockers,
        capacity=device.capacity,
        leased=device.leased,
        boot=device.boot,
        registered_at=device.registered_at,
        last_seen=device.last_seen,
        completed=device.completed,
        correctness=_beta_to_wire(device.correctness),
        availability=_beta_to_wire(device.availability),
    )


def device_from_wire(message: pb.Device) -> Device:
    """A device's row, without its session."""
    return Device(
        id=DeviceId(message.id),
        public_key=message.public_key,
        owner=OwnerId(message.owner),
        site=SiteId(message.site),
        state=DEVICE_STATES.word(message.state),
        reason=message.reason,
        trusted=message.trusted,
        name=message.name,
        facts=facts_from_wire(message.facts),
        power=power_from_wire(message.power),
        blockers=tuple(message.blockers),
        capacity=message.capacity,
        leased=message.leased,
        boot=message.boot,
        registered_at=message.registered_at,
        last_seen=message.last_seen,
        completed=message.completed,
        correctness=_beta_from_wire(message.correctness),
        availability=_beta_from_wire(message.availability),
    )


def _gpu_to_wire(gpu: Gpu) -> pb.Gpu:
    return pb.Gpu(
        backend=gpu.backend,
        name=gpu.name,
        uuid=gpu.uuid,
        vram_bytes=gpu.vram_bytes,
        driver=gpu.driver,
        compute=gpu.compute,
    )


def _gpu_from_wire(message: pb.Gpu) -> Gpu:
    return Gpu(
        backend=check.text(message.backend, "gpu backend"),
        name=check.text(message.name, "gpu name"),
        uuid=check.text(message.uuid, "gpu uuid"),
        vram_bytes=message.vram_bytes,
        driver=check.text(message.driver, "gpu driver"),
        compute=check.text(message.compute, "gpu compute"),
    )


def _beta_to_wire(beta: Beta) -> pb.Beta:
    return pb.Beta(alpha=beta.alpha, beta=beta.beta, updated_at=beta.updated_at)


def _beta_from_wire(message: pb.Beta) -> Beta:
    return Beta(alpha=message.alpha, beta=message.beta, updated_at=message.updated_at)
