"""What agents and the scheduler say to each other, as values; ``wire`` writes them as protobuf.

Everything is batched.  Results ride on the poll; the poll is a long poll.  Every request of an agent carries its power
status, every reply says whether the device may go on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from corpgrid.domain.device import Facts, PowerStatus
from corpgrid.domain.ids import DeviceId, Digest, Epoch, JobId


class Outcome(StrEnum):
    """How an attempt ended on its device."""

    RESULT = "result"
    """It returned; the payload or the payload's blob is its result."""
    FAILED = "failed"
    """The task's own fault: it raised or hit a limit; ``reason`` names it, ``detail`` has the traceback."""
    CRASHED = "crashed"
    """The runner died under it."""
    STOPPED = "stopped"
    """Handed back because the host no longer allows work (``reason`` names why), or the job was cancelled."""
    REFUSED = "refused"
    """The device would not start it: trust, environment or disk (``reason``, ``detail``)."""


class OutputFile(NamedTuple):
    """A file that a task left in its working folder, stored as a blob."""

    name: str
    digest: Digest
    size_bytes: int


class Item(NamedTuple):
    """One attempt's end, as its device signs it.

    Attributes:
        payload: the encoded result (``wire.data``) if it is at most ``inline_bytes``, else empty with ``blob`` set.
        blob: digest of the stored payload when it did not fit inline, else empty.
        seconds: run time on the device.
        log: what is kept of what it printed, raw bytes.
        log_dropped: bytes printed beyond ``log_bytes``.
        outputs: files it left.
    """

    index: int  # type: ignore[assignment]  # a field here, not the method of tuples
    attempt: int
    epoch: Epoch
    outcome: Outcome
    payload: bytes = b""
    blob: Digest = Digest(b"")
    reason: str = ""
    detail: str = ""
    seconds: float = 0.0
    log: bytes = b""
    log_dropped: int = 0
    outputs: tuple[OutputFile, ...] = ()


class Batch(NamedTuple):
    """Results of many attempts of one job, under one signature.

    Attributes:
        signature: Ed25519 by the device's key over the batch statement (``trust.results``), which binds the Merkle root
            of the items, the job and the device.
        content: the batch as it travelled, byte for byte (protobuf); what is stored as evidence.  Empty until encoded.
    """

    job: JobId
    device: DeviceId
    items: tuple[Item, ...]
    signature: bytes = b""
    content: bytes = b""
    digests: tuple[Digest, ...] = ()
    """Of each item's result: of ``payload``, or ``blob`` itself, or empty.  Set when the batch is verified."""


class GrantedTask(NamedTuple):
    """One attempt that a device may start."""

    index: int  # type: ignore[assignment]  # a field here, not the method of tuples
    attempt: int


class Grant(NamedTuple):
    """Work for one device under one lease.

    Attributes:
        ttl_seconds: the lease runs out this long after the reply was made, unless a heartbeat renews it.
    """

    epoch: Epoch
    job: JobId
    tasks: tuple[GrantedTask, ...]
    ttl_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterRequest:
    """An agent starts, or meets a scheduler that does not know its session.

    Attributes:
        public_key: raw Ed25519, 32 bytes.
        boot: names this start of the agent.
        signed_at: seconds since the epoch on the device's clock.
        proof: signature over ``trust.results.registration_statement``: the device holds the private half.
        held: epochs whose attempts the agent still works on; the rest of its leases are returned.
    """

    public_key: bytes
    owner: str
    site: str
    name: str
    facts: Facts
    power: PowerStatus
    boot: str
    signed_at: float
    capacity: int
    proof: bytes = b""
    blockers: tuple[str, ...] = ()
    held: tuple[Epoch, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    """What the scheduler tells its agents: periods in seconds, sizes in bytes."""

    heartbeat_seconds: float = 5.0
    poll_wait_seconds: float = 20.0
    lease_ttl_seconds: float = 20.0
    reconnect_window_seconds: float = 10.0
    inline_bytes: int = 64 << 10
    batch_bytes: int = 2 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterReply:
    """``session`` is the secret that every later request carries."""

    device: DeviceId
    session: str
    settings: AgentSettings = field(default_factory=AgentSettings)
    should_continue: bool = True
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentStatus:
    """What every request of an agent carries.

    Attributes:
        held: epochs whose attempts it still works on; each is renewed.
        blockers: named reasons why its host forbids work; empty means allowed.
        capacity: tasks it can hold at once.
    """

    device: DeviceId
    session: str
    power: PowerStatus
    held: tuple[Epoch, ...] = ()
    blockers: tuple[str, ...] = ()
    capacity: int = 1
    thermal_headroom: float = 1.0
    disk_free_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PollRequest:
    """Asks for at most ``wanted`` tasks, brings results, and waits at most ``wait_seconds`` for work."""

    status: AgentStatus
    wanted: int
    wait_seconds: float
    known_jobs: tuple[JobId, ...] = ()
    batches: tuple[Batch, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What every reply to a registered agent says.

    Attributes:
        should_continue: False: stop all work at once (battery, paused, quarantined); ``message`` says why.
        lost: leases of ``status.held`` that are no longer the device's (ran out, or the job was cancelled): stop their
            attempts and send nothing of them.
        received: for every batch, in order, how many of its items counted.
    """

    should_continue: bool = True
    message: str = ""
    lost: tuple[Epoch, ...] = ()
    received: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PollReply(Reply):
    """Work.

    Attributes:
        grants: what to start.
        specs: the signed envelope (``trust.jobspec``) of each job in ``grants`` that was not in ``known_jobs``.
        blobs: small blobs that these jobs need first (bundle, page list, page), so that they need not be asked for.
    """

    grants: tuple[Grant, ...] = ()
    specs: Mapping[JobId, bytes] = field(default_factory=dict)
    blobs: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartbeatRequest:
    """Renews the leases in ``status.held``."""

    status: AgentStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitRequest:
    """Results without a poll: the agent wants no more work, or is going away."""

    status: AgentStatus
    batches: tuple[Batch, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointRequest:
    """A checkpoint of a running attempt, already stored as a blob."""

    status: AgentStatus
    job: JobId
    index: int
    attempt: int
    epoch: Epoch
    step: int
    blob: Digest
