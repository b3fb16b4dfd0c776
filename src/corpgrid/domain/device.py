"""A device: what it is, whether it may work now, and what is known of its past.

The chart of a device's states is ``DEVICE_MOVES``:

    pending -> active <-> paused(reason) ; draining ; quarantined(reason) ; revoked

*Paused* is the owner's or operator's word.  Whether power, presence, hours and heat allow work at this moment is not a
state but a fact that every message carries (``PowerStatus``, ``blockers``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from corpgrid.domain.ids import DeviceId, OwnerId, SiteId
from corpgrid.domain.reputation import Beta


class DeviceState(StrEnum):
    """Where one device stands."""

    PENDING = "pending"
    ACTIVE = "active"
    PAUSED = "paused"
    DRAINING = "draining"
    QUARANTINED = "quarantined"
    REVOKED = "revoked"


DEVICE_MOVES: Mapping[DeviceState, frozenset[DeviceState]] = {
    DeviceState.PENDING: frozenset({DeviceState.ACTIVE, DeviceState.REVOKED}),
    DeviceState.ACTIVE: frozenset(
        {DeviceState.PAUSED, DeviceState.DRAINING, DeviceState.QUARANTINED, DeviceState.REVOKED}
    ),
    DeviceState.PAUSED: frozenset(
        {DeviceState.ACTIVE, DeviceState.DRAINING, DeviceState.QUARANTINED, DeviceState.REVOKED}
    ),
    DeviceState.DRAINING: frozenset(
        {DeviceState.ACTIVE, DeviceState.PAUSED, DeviceState.QUARANTINED, DeviceState.REVOKED}
    ),
    DeviceState.QUARANTINED: frozenset({DeviceState.REVOKED}),
    DeviceState.REVOKED: frozenset(),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerStatus:
    """What a power probe saw.

    Attributes:
        on_ac_power: whether mains power feeds the machine; a machine with no battery is on mains.
        battery_percent: 0 to 100, or None without a battery.
    """

    on_ac_power: bool = True
    battery_percent: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One GPU, as its driver describes it.

    Attributes:
        backend: ``cuda``, ``metal`` or ``vulkan``.
        compute: the backend's compute capability or family, such as ``9.0``.
    """

    backend: str
    name: str
    uuid: str = ""
    vram_bytes: int = 0
    driver: str = ""
    compute: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a device says it is; part of feasibility.

    Attributes:
        operating_system: ``linux``, ``macos`` or ``windows``.
        architecture: ``x86_64`` or ``arm64``.
        python: minor version of the interpreter that runners use, such as ``3.11``.
        engines: engines that passed their self-test.
        sandbox: the sandbox that passed its self-test, such as ``bubblewrap``.
        cpus: cores that the owner's policy lends.
        memory_bytes: memory that the owner's policy lends.
        disk_free_bytes: free disk under the agent's folder.
        labels: what the operator calls it.
        thermal_headroom: 0 (at its limit) to 1 (cold).
    """

    hostname: str = ""
    operating_system: str = "linux"
    architecture: str = "x86_64"
    python: str = ""
    engines: tuple[str, ...] = ("python", "command")
    sandbox: str = ""
    cpus: int = 1
    memory_bytes: int = 0
    disk_free_bytes: int = 0
    gpus: tuple[Gpu, ...] = ()
    labels: tuple[str, ...] = ()
    thermal_headroom: float = 1.0
    agent_version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A device's row.

    Attributes:
        public_key: raw Ed25519 public key, 32 bytes; results are signed with its private half.
        owner: whose it is; replicas of one task never share an owner.
        trusted: owned by the operator; may arbitrate.
        blockers: named reasons why its host forbids work at the moment; empty means allowed.
        capacity: tasks it can hold at once.
        leased: attempts it holds now.
        session: digest of the secret of its present session.
        boot: names one start of its agent; two at once are a clone.
        completed: results it returned, ever.
    """

    id: DeviceId
    public_key: bytes
    owner: OwnerId
    site: SiteId
    state: DeviceState = DeviceState.ACTIVE
    reason: str = ""
    trusted: bool = False
    name: str = ""
    facts: Facts = field(default_factory=Facts)
    power: PowerStatus = field(default_factory=PowerStatus)
    blockers: tuple[str, ...] = ()
    capacity: int = 1
    leased: int = 0
    session: bytes = b""
    boot: str = ""
    registered_at: float = 0.0
    last_seen: float = 0.0
    completed: int = 0
    correctness: Beta = field(default_factory=Beta)
    availability: Beta = field(default_factory=Beta)
