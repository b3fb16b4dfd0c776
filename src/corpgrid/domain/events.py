"""What happens to the grid: the events that one tick decides on.

Every event carries ``ticket``, the number under which its sender waits for an answer.
"""

from __future__ import annotations

from dataclasses import dataclass

from corpgrid.domain.device import DeviceState
from corpgrid.domain.ids import DeviceId, Digest, JobId, KeyId
from corpgrid.domain.job import JobSpec
from corpgrid.domain.messages import AgentStatus, Batch, CheckpointRequest, RegisterRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSubmitted:
    """A verified specification arrived with its signed envelope; its blobs are stored, or in ``attachments``.

    ``payload`` is what was signed, the encoded specification, where it is at hand.
    """

    ticket: int
    job: JobId
    spec: JobSpec
    envelope: bytes
    submitter: KeyId
    payload: bytes = b""
    attachments: tuple[tuple[Digest, bytes], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class JobCancelled:
    """A user wants no more of a job."""

    ticket: int
    job: JobId
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRegistered:
    """An agent proved its key; ``session`` is the digest of the new session's secret."""

    ticket: int
    device: DeviceId
    request: RegisterRequest
    session: bytes
    trusted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Polled:
    """An agent waits for work.  A poll that found none is asked again each tick until it is answered or times out.

    Attributes:
        first: whether this is the first tick that sees it: only then its results, leases and status are read.
        due: whether its waiting time is over: it is answered now, with or without work.
    """

    ticket: int
    status: AgentStatus
    wanted: int
    known_jobs: frozenset[JobId]
    batches: tuple[Batch, ...] = ()
    first: bool = True
    due: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """An agent renews its leases."""

    ticket: int
    status: AgentStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """An agent brings verified batches of results without asking for work."""

    ticket: int
    status: AgentStatus
    batches: tuple[Batch, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpointed:
    """A running attempt stored a checkpoint."""

    ticket: int
    request: CheckpointRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSet:
    """A person pauses, resumes, drains, quarantines or revokes a device."""

    ticket: int
    device: DeviceId
    state: DeviceState
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """Time passed: leases may have run out, waiting tasks may be due, a quarantined device's work may be open."""

    ticket: int = 0
    started: bool = False
    """Whether its scheduler has just come up: then any gap since the last tick is an outage, so that a restart does not
    re-run the fleet."""


Event = (
    JobSubmitted | JobCancelled | DeviceRegistered | Polled | Heartbeat | Submitted | Checkpointed | DeviceSet | Swept
)
