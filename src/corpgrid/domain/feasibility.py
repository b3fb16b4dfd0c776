"""Feasibility: may this device be given this work, and if not, every reason why not.

* A refusal is a name for programs (``Refusal``) and a sentence for people (``explain``).
* All reasons are given, not just the first.  What will last comes before what will pass: a laptop that is on battery
  and has no GPU is refused for its GPU, because plugging it in would not help.
* No weight can outbid a refusal: placement scores only the devices that are refused for nothing.
* A device that is on battery is refused whatever its owner's policy says (specification, section 6).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum

from corpgrid.domain.device import Device, DeviceState, Facts, Gpu
from corpgrid.domain.ids import DeviceId, OwnerId
from corpgrid.domain.job import Requirements, VerifyMode

SEEN_WITHIN_SECONDS = 60.0
_BATTERY = "battery"


class Refusal(StrEnum):
    """Why a device may not be given some work, what lasts before what passes."""

    REVOKED = "revoked"
    QUARANTINED = "quarantined"
    PENDING = "pending"
    ENGINE = "engine"
    OPERATING_SYSTEM = "operating_system"
    ARCHITECTURE = "architecture"
    PYTHON = "python"
    GPU_COUNT = "gpu_count"
    GPU_BACKEND = "gpu_backend"
    VRAM = "vram"
    MEMORY = "memory"
    DISK = "disk"
    CPUS = "cpus"
    SITE = "site"
    OWNER = "owner"
    LABELS = "labels"
    NOT_TRUSTED = "not_trusted"
    SAME_DEVICE = "same_device"
    SAME_OWNER = "same_owner"
    NOT_SEEN = "not_seen"
    DRAINING = "draining"
    PAUSED = "paused"
    BATTERY = "battery"
    HOST = "host"
    FULL = "full"


_STATES: Mapping[DeviceState, Refusal] = {
    DeviceState.REVOKED: Refusal.REVOKED,
    DeviceState.QUARANTINED: Refusal.QUARANTINED,
    DeviceState.PENDING: Refusal.PENDING,
    DeviceState.DRAINING: Refusal.DRAINING,
    DeviceState.PAUSED: Refusal.PAUSED,
}
_ORDER = {refusal: place for place, refusal in enumerate(Refusal)}

# Each table pairs a reason with the test that finds it; an empty or zero requirement asks for nothing.
_PLATFORM: tuple[tuple[Refusal, Callable[[Requirements, Facts], bool]], ...] = (
    (Refusal.ENGINE, lambda need, facts: bool(need.engine) and need.engine not in facts.engines),
    (Refusal.OPERATING_SYSTEM, lambda need, facts: _outside(facts.operating_system, need.operating_systems)),
    (Refusal.ARCHITECTURE, lambda need, facts: _outside(facts.architecture, need.architectures)),
    (Refusal.PYTHON, lambda need, facts: bool(need.python) and need.python != facts.python),
)
_SIZES: tuple[tuple[Refusal, Callable[[Requirements, Facts], bool]], ...] = (
    (Refusal.MEMORY, lambda need, facts: facts.memory_bytes < need.memory_bytes),
    (Refusal.DISK, lambda need, facts: facts.disk_free_bytes < need.disk_bytes),
    (Refusal.CPUS, lambda need, facts: facts.cpus < need.cpus),
)
PLACE: Mapping[Refusal, Callable[[Requirements, Device], bool]] = {
    Refusal.SITE: lambda need, device: _outside(device.site, need.sites),
    Refusal.OWNER: lambda need, device: _outside(device.owner, need.owners),
    Refusal.LABELS: lambda need, device: not set(need.labels).issubset(device.facts.labels),
}


def refusals(  # noqa: PLR0913 - what placement knows beyond the device is named one by one
    requirements: Requirements,
    verify_mode: VerifyMode,
    device: Device,
    *,
    now: float,
    seen_within_seconds: float = SEEN_WITHIN_SECONDS,
    excluded_owners: frozenset[OwnerId] = frozenset(),
    excluded_devices: frozenset[DeviceId] = frozenset(),
    require_trusted: bool = False,
    free: int | None = None,
) -> tuple[Refusal, ...]:
    """Every reason why the device may not be given the work, in the order of ``Refusal``; empty: it may.

    Args:
        requirements: what the work asks for.
        verify_mode: how its results come to be believed.
        device: who is asked.
        now: seconds since the epoch.
        seen_within_seconds: a device that was not heard of for longer is not there.
        excluded_owners: owners whose devices have a copy of the work.
        excluded_devices: devices that tried it.
        require_trusted: whether only the operator's own devices may do it.
        free: tasks that the device can take now, if not what its row says.
    """
    facts = device.facts
    found = [*platform_refusals(requirements, facts), *gpu_refusals(requirements, facts.gpus)]
    found += [reason for reason, fails in _SIZES if fails(requirements, facts)]
    found += [reason for reason, fails in PLACE.items() if fails(requirements, device)]
    if needs_trust(verify_mode, require_trusted=require_trusted) and not device.trusted:
        found.append(Refusal.NOT_TRUSTED)
    if device.id in excluded_devices:
        found.append(Refusal.SAME_DEVICE)
    if device.owner in excluded_owners:
        found.append(Refusal.SAME_OWNER)
    if now - device.last_seen > seen_within_seconds:
        found.append(Refusal.NOT_SEEN)
    found += host_refusals(device)
    if (device.capacity - device.leased if free is None else free) <= 0:
        found.append(Refusal.FULL)
    return tuple(sorted(found, key=_ORDER.__getitem__)) if len(found) > 1 else tuple(found)


def host_refusals(device: Device) -> list[Refusal]:
    """What stands against giving the device any work at all: its state, and what its host says."""
    found = [_STATES[device.state]] if device.state in _STATES else []
    if not device.power.on_ac_power or _BATTERY in device.blockers:
        found.append(Refusal.BATTERY)
    if any(blocker != _BATTERY for blocker in device.blockers):
        found.append(Refusal.HOST)
    return found


def platform_refusals(requirements: Requirements, facts: Facts) -> list[Refusal]:
    """What stands against its engines, operating system, architecture and Python."""
    return [reason for reason, fails in _PLATFORM if fails(requirements, facts)]


def gpu_refusals(requirements: Requirements, gpus: Sequence[Gpu]) -> list[Refusal]:
    """The first of count, backend and memory in which its GPUs fall short."""
    wanted = gpus_wanted(requirements)
    if len(suitable_gpus(requirements, gpus)) >= wanted:
        return []
    if len(gpus) < wanted:
        return [Refusal.GPU_COUNT]
    of_backend = sum(1 for gpu in gpus if requirements.gpu_backend in {"", gpu.backend})
    return [Refusal.VRAM if of_backend >= wanted else Refusal.GPU_BACKEND]


def gpus_wanted(requirements: Requirements) -> int:
    """GPUs that one task uses; naming a backend or a size asks for at least one."""
    return requirements.gpus or int(bool(requirements.gpu_backend or requirements.vram_bytes))


def suitable_gpus(requirements: Requirements, gpus: Sequence[Gpu]) -> list[Gpu]:
    """The GPUs that the work could use."""
    return [
        gpu
        for gpu in gpus
        if requirements.gpu_backend in {"", gpu.backend} and gpu.vram_bytes >= requirements.vram_bytes
    ]


def needs_trust(verify_mode: VerifyMode, *, require_trusted: bool) -> bool:
    """Whether only the operator's own devices may do the work."""
    return require_trusted or verify_mode is VerifyMode.TRUSTED


def _outside(value: str, allowed: Iterable[str]) -> bool:
    allowed = tuple(allowed)
    return bool(allowed) and value not in allowed


# -- words for people

_PLAIN: Mapping[Refusal, str] = {
    Refusal.REVOKED: "is revoked",
    Refusal.QUARANTINED: "is quarantined",
    Refusal.PENDING: "is waiting for the operator's approval",
    Refusal.ENGINE: "has no working engine of the kind that is needed",
    Refusal.OPERATING_SYSTEM: "has another operating system than is needed",
    Refusal.ARCHITECTURE: "has another architecture than is needed",
    Refusal.PYTHON: "has another Python than is needed",
    Refusal.GPU_COUNT: "has fewer GPUs than are needed",
    Refusal.GPU_BACKEND: "has GPUs of another kind than is needed",
    Refusal.VRAM: "has less memory on its GPUs than is needed",
    Refusal.MEMORY: "has less memory than is needed",
    Refusal.DISK: "has less free disk than is needed",
    Refusal.CPUS: "has fewer cores than are needed",
    Refusal.SITE: "is at another site than is wanted",
    Refusal.OWNER: "is of another owner than is wanted",
    Refusal.LABELS: "has not all labels that are wanted",
    Refusal.NOT_TRUSTED: "is not one of the operator's own, and the work asks for these",
    Refusal.SAME_DEVICE: "has had a copy of this task",
    Refusal.SAME_OWNER: "is of an owner who has a copy of this task",
    Refusal.NOT_SEEN: "was not heard of lately",
    Refusal.DRAINING: "is draining",
    Refusal.PAUSED: "is paused",
    Refusal.BATTERY: "is on battery",
    Refusal.HOST: "is held back by the host",
    Refusal.FULL: "is full",
}
_PLURALS = {"is": "are", "has": "have", "was": "were", "could": "could"}


def _told(device: Device) -> str:
    return f": {device.reason}" if device.reason else ""


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / (1 << 30):.3g} GiB"


def _largest_vram_bytes(facts: Facts) -> int:
    return max((gpu.vram_bytes for gpu in facts.gpus), default=0)


def _any_of(names: Iterable[str]) -> str:
    return " or ".join(names)


_DETAILS: Mapping[Refusal, Callable[[Requirements, Device], str]] = {
    Refusal.QUARANTINED: lambda _, device: f"is quarantined{_told(device)}",
    Refusal.PAUSED: lambda _, device: f"is paused{_told(device)}",
    Refusal.DRAINING: lambda _, device: f"is draining{_told(device)}",
    Refusal.ENGINE: lambda need, _: f"has no working {need.engine} engine",
    Refusal.OPERATING_SYSTEM: lambda need, device: (
        f"has {device.facts.operating_system} where {_any_of(need.operating_systems)} is needed"
    ),
    Refusal.ARCHITECTURE: lambda need, device: (
        f"has an {device.facts.architecture} processor where {_any_of(need.architectures)} is needed"
    ),
    Refusal.PYTHON: lambda need, device: (
        f"has {'Python ' + device.facts.python if device.facts.python else 'no Python'} where {need.python} is needed"
    ),
    Refusal.GPU_COUNT: lambda need, device: f"has {len(device.facts.gpus)} GPUs where {gpus_wanted(need)} are needed",
    Refusal.GPU_BACKEND: lambda need, device: (
        f"has {_any_of(sorted({gpu.backend for gpu in device.facts.gpus}))} GPUs where {need.gpu_backend} is needed"
    ),
    Refusal.VRAM: lambda need, device: (
        f"has GPUs of {_gib(_largest_vram_bytes(device.facts))} where {_gib(need.vram_bytes)} is needed"
    ),
    Refusal.MEMORY: lambda need, device: (
        f"has {_gib(device.facts.memory_bytes)} of memory where {_gib(need.memory_bytes)} is needed"
    ),
    Refusal.DISK: lambda need, device: (
        f"has {_gib(device.facts.disk_free_bytes)} of free disk where {_gib(need.disk_bytes)} is needed"
    ),
    Refusal.CPUS: lambda need, device: f"has {device.facts.cpus} cores where {need.cpus} are needed",
    Refusal.SITE: lambda need, device: f"is at site {device.site} where {_any_of(need.sites)} is wanted",
    Refusal.OWNER: lambda need, device: f"is of owner {device.owner} where {_any_of(need.owners)} is wanted",
    Refusal.LABELS: lambda need, device: (
        f"has no label {' nor '.join(label for label in need.labels if label not in device.facts.labels)}"
    ),
    Refusal.HOST: lambda _, device: (
        f"is held back by the host ({', '.join(name for name in device.blockers if name != _BATTERY)})"
    ),
    Refusal.FULL: lambda _, device: f"is full with {device.leased} of {device.capacity} tasks",
}


def explain(refusal: Refusal, requirements: Requirements, device: Device) -> str:
    """The reason in words, as what stands after the device's name: ``has Python 3.12 where 3.11 is needed``."""
    detail = _DETAILS.get(refusal)
    return detail(requirements, device) if detail else _PLAIN[refusal]


def summarise(
    refused: Sequence[tuple[Refusal, ...]],
    *,
    requirements: Requirements | None = None,
    devices: Sequence[Device] = (),
) -> str:
    """One sentence on why work does not start: each device counts under the first of its reasons, most devices first.

    Args:
        refused: for each device, why it may not do the work.
        requirements: with ``devices``, puts what is needed into words: ``has Python 3.12 where 3.11 is needed``.
        devices: the devices, in the order of ``refused``.
    """
    if not refused:
        return "no device has joined the grid"
    assert not devices or len(devices) == len(refused), (len(devices), len(refused))
    stories: Counter[str] = Counter()
    for place, reasons in enumerate(refused):
        if not reasons:
            stories["could take it"] += 1
        elif requirements is None or not devices:
            stories[_PLAIN[reasons[0]]] += 1
        else:
            stories[explain(reasons[0], requirements, devices[place])] += 1
    ordered = sorted(stories.items(), key=lambda item: (-item[1], item[0]))
    parts = (f"{count} {_agree(story, count)}" for story, count in ordered)
    return f"{len(refused)} {'device' if len(refused) == 1 else 'devices'}: {', '.join(parts)}"


def _agree(story: str, count: int) -> str:
    verb, _, rest = story.partition(" ")
    return story if count == 1 else f"{_PLURALS[verb]} {rest}"
