"""What a tick reads and what it changes.

``Need`` names the rows that the events touch, ``View`` is those rows as the store read them, ``Effects`` the rows as
they
shall be.  A store loads a need, and commits effects, each list by one statement over arrays; it knows no rule of the
grid.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from corpgrid.domain.attempt import Attempt, Lease
from corpgrid.domain.device import Device
from corpgrid.domain.ids import DeviceId, Digest, Epoch, JobId, OwnerId, TaskKey
from corpgrid.domain.job import Job, JobSpec, Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """The rows a tick wants to see.

    Attributes:
        devices: these devices, with all their leases.
        tasks: these tasks, with all their attempts, the devices that made those attempts, and the leases of those that
            are live.
        jobs: these jobs.
        ready_limit: how many ready tasks, over all running jobs by priority then age, fresh tasks and tasks that were
            tried before counted apart (so that audits which nobody here may take never hide fresh work); with the jobs
            they belong to, and with the attempts (and their devices) of those tried before.
        sweep: also leases that ran out by ``now`` with their live attempts and those attempts' tasks; waiting tasks
        that
            are due; provisional tasks whose accepted result came from a quarantined or revoked device, with their
            attempts; and every running job whose ``unsettled`` is 0.  At most ``sweep_limit`` tasks of each.
        release: devices all of whose live attempts (and their tasks) are wanted, because their leases may be returned.
    """

    devices: frozenset[DeviceId] = frozenset()
    tasks: frozenset[TaskKey] = frozenset()
    jobs: frozenset[JobId] = frozenset()
    ready_limit: int = 0
    sweep: bool = False
    sweep_limit: int = 1_000
    release: frozenset[DeviceId] = frozenset()


class OwnerPresence(NamedTuple):
    """How many devices of one owner could take work, and how many of them are trusted.

    Those count that are active, without blockers, and were seen within the last minute.
    """

    active: int
    trusted: int


class Standing(NamedTuple):
    """How much of one bundle a device in its present shape has done.

    Attributes:
        fingerprint: digest of GPU, driver, agent and Python; a change starts probation again.
        returned: results it committed for this bundle.
        passed: of those, audits that agreed.
    """

    device: DeviceId
    bundle: Digest
    fingerprint: Digest
    returned: int = 0
    passed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The rows of a need, read in one transaction.

    Attributes:
        now: the store's time, seconds since the epoch.
        last_tick: when a tick, of any scheduler, last committed; 0 for a new store.
        next_epoch: the first epoch that no lease ever had; the tick may use it and those after it.
        next_batch: the same for stored batches.
        specs: the specification of every job in ``jobs``.
        attempts: all attempts of each task in ``tasks`` that has any, by number.
        ready: keys of tasks (all in ``tasks``) that want a device, by job priority, job age, index.
        due: keys of waiting tasks whose ``ready_at`` has come.
        expired: leases that ran out.
        tainted: keys of provisional tasks whose accepted result came from a quarantined or revoked device.
        tainted_jobs: running jobs that still have any such task, whether or not it is in ``tainted``.
        owners: who is there.
        leads: False where another scheduler has taken the lead from the one that reads this: then nothing may be done
            that only one does.  A store looks that up for a sweep.
        payloads: (batch, position) to encoded result, for attempts of tasks in ``tasks`` that returned, where the job's
            comparator looks inside results.
        standings: of the devices in ``devices`` and the bundles of ``jobs``.
    """

    now: float
    last_tick: float = 0.0
    next_epoch: int = 1
    next_batch: int = 1
    jobs: Mapping[JobId, Job] = field(default_factory=dict)
    specs: Mapping[JobId, JobSpec] = field(default_factory=dict)
    tasks: Mapping[TaskKey, Task] = field(default_factory=dict)
    attempts: Mapping[TaskKey, tuple[Attempt, ...]] = field(default_factory=dict)
    devices: Mapping[DeviceId, Device] = field(default_factory=dict)
    leases: Mapping[Epoch, Lease] = field(default_factory=dict)
    ready: tuple[TaskKey, ...] = ()
    due: tuple[TaskKey, ...] = ()
    expired: tuple[Epoch, ...] = ()
    tainted: tuple[TaskKey, ...] = ()
    tainted_jobs: frozenset[JobId] = frozenset()
    owners: Mapping[OwnerId, OwnerPresence] = field(default_factory=dict)
    leads: bool = True
    payloads: Mapping[tuple[int, int], bytes] = field(default_factory=dict)
    standings: Mapping[tuple[DeviceId, Digest], Standing] = field(default_factory=dict)


class NewJob(NamedTuple):
    """A job's first row, the envelope that its submitter signed, and how many copies of each task it wants at first.

    Attributes:
        attachments: small blobs that are this job's alone (its list of pages, its only page), kept in its own rows: the
            commit that takes the job takes them too.
        payload: the encoded specification, where it is at hand; else whoever needs it encodes ``spec``.
    """

    job: Job
    spec: JobSpec
    envelope: bytes
    copies: int
    attachments: tuple[tuple[Digest, bytes], ...] = ()
    payload: bytes = b""


class StoredBatch(NamedTuple):
    """A signed batch as it arrived, byte for byte: the evidence of who computed what."""

    number: int
    job: JobId
    device: DeviceId
    content: bytes


class Checkpoint(NamedTuple):
    """A stored checkpoint of an attempt."""

    job: JobId
    index: int  # type: ignore[assignment]  # a field here, not the method of tuples
    attempt: int
    step: int
    blob: Digest
    created_at: float


class AuditEntry(NamedTuple):
    """One line of the audit log.

    Attributes:
        kind: what happened, such as ``job.submitted`` or ``device.quarantined``.
        subject: to what: a job, task or device.
        actor: by whom: a key, a device, or ``scheduler``.
    """

    at: float
    kind: str
    subject: str
    actor: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """The rows as they shall be.  Whole rows replace whole rows; a lease with ``remaining`` 0 is deleted.

    Attributes:
        finalised: jobs all of whose provisional tasks become final, with the job's new rev.  The store applies this
            after ``tasks``, and gives each such task that rev as its ``final_rev``.
        cancelled: jobs all of whose tasks that are not terminal become cancelled, their live attempts stopped and their
            leases deleted.
    """

    new_jobs: tuple[NewJob, ...] = ()
    jobs: tuple[Job, ...] = ()
    tasks: tuple[Task, ...] = ()
    new_attempts: tuple[Attempt, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    leases: tuple[Lease, ...] = ()
    devices: tuple[Device, ...] = ()
    standings: tuple[Standing, ...] = ()
    batches: tuple[StoredBatch, ...] = ()
    finalised: tuple[JobId, ...] = ()
    cancelled: tuple[JobId, ...] = ()
    checkpoints: tuple[Checkpoint, ...] = ()
    audit: tuple[AuditEntry, ...] = ()
    extend_leases_seconds: float = 0.0
    """Added to ``until`` of every lease that is in the store: no scheduler ticked for so long."""
    replies: Mapping[int, object] = field(default_factory=dict)
    """Ticket to answer, sent after the commit: a ``Reply``, ``RegisterReply``, ``Job``, ``Device``, the seconds of an
    outage (``Swept``) or an error."""
