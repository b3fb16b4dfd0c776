"""A job: what its submitter signed, and how far it has come.

``JobSpec`` is everything the submitter decided, and is signed; ``Job`` and ``Task`` are the rows in which the grid
keeps how far it is.  The chart of a task's states is ``TASK_MOVES`` (drawn in docs/explanation/states.md):

    waiting -> ready -> leased -> provisional -> final | failed | cancelled

Arguments are not in the specification one by one.  They are packed in **pages** (blobs of ``page_tasks`` encoded items
each), and the specification binds the digest of the list of pages: a million tasks cost a device the pages it works on,
and nobody can change one argument without breaking a digest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from corpgrid.domain.ids import Digest, JobId, KeyId


class TaskState(StrEnum):
    """Where one task stands."""

    WAITING = "waiting"
    """Not yet: it was tried and waits until ``ready_at``."""
    READY = "ready"
    """Wants a device."""
    LEASED = "leased"
    """At least one device works on it, and nothing is committed."""
    PROVISIONAL = "provisional"
    """A result is committed, and may still be audited."""
    FINAL = "final"
    """A result is accepted, for good."""
    FAILED = "failed"
    """It failed everywhere it was tried, or cannot be placed any more."""
    CANCELLED = "cancelled"
    """Its job was cancelled first."""


TASK_MOVES: Mapping[TaskState, frozenset[TaskState]] = {
    TaskState.WAITING: frozenset({TaskState.READY, TaskState.FAILED, TaskState.CANCELLED}),
    TaskState.READY: frozenset({TaskState.LEASED, TaskState.FAILED, TaskState.CANCELLED}),
    TaskState.LEASED: frozenset(
        {
            TaskState.READY,
            TaskState.WAITING,
            TaskState.PROVISIONAL,
            TaskState.FINAL,
            TaskState.FAILED,
            TaskState.CANCELLED,
        }
    ),
    TaskState.PROVISIONAL: frozenset(
        {TaskState.READY, TaskState.LEASED, TaskState.FINAL, TaskState.FAILED, TaskState.CANCELLED}
    ),
    TaskState.FINAL: frozenset(),
    TaskState.FAILED: frozenset(),
    TaskState.CANCELLED: frozenset(),
}
TERMINAL = frozenset({TaskState.FINAL, TaskState.FAILED, TaskState.CANCELLED})


class Purpose(StrEnum):
    """Why a copy of a task is wanted.  Devices are never told."""

    PRIMARY = "primary"
    """A result is wanted (in quorum and tiers mode: each replica)."""
    AUDIT = "audit"
    """A committed result is checked by somebody else."""
    ARBITER = "arbiter"
    """Two results differ, and a third decides."""


class JobState(StrEnum):
    """Where one job stands."""

    RUNNING = "running"
    """Its tasks are not all at their end."""
    DONE = "done"
    """Every task is final."""
    FAILED = "failed"
    """Every task is terminal, and at least one failed."""
    CANCELLED = "cancelled"
    """Somebody wanted no more of it."""


class VerifyMode(StrEnum):
    """How results come to be believed (docs/explanation/verification.md)."""

    NONE = "none"
    """The first result stands; nobody checks it."""
    AUDIT = "audit"
    """A device commits first; then a secret share of the results is computed again by another owner's device."""
    QUORUM = "quorum"
    """Several copies are sent out, and a result stands when enough of them match."""
    TIERS = "tiers"
    """As many copies as the reputation of the device that answered first calls for; most of them decide."""
    TRUSTED = "trusted"
    """Only devices that the operator trusts may take it; their first result stands."""


class ComparatorKind(StrEnum):
    """When two results are the same."""

    BYTES = "bytes"
    """Bit for bit."""
    JSON = "json"
    """The same JSON, whatever its layout; numbers exactly."""
    TEXT = "text"
    """The same text, but for line ends, trailing spaces and the way accents are written."""
    FLOAT = "float"
    """Numbers within a tolerance, each and together; everything else exactly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparator:
    """A comparator and its tolerances, which are for ``float`` alone.

    Attributes:
        kind: when two results are the same.
        rtol: how far a number may be off, relative to the other.
        atol: how far a number may be off at all.
        relative_l2: how far the whole may be off, in norm.
    """

    kind: ComparatorKind = ComparatorKind.BYTES
    rtol: float = 1e-6
    atol: float = 1e-9
    relative_l2: float = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyPolicy:
    """How a job's results are verified.

    Attributes:
        mode: see ``VerifyMode``.
        rate: share of committed results that are audited, 0 to 1; None draws it from ``eps``.
        eps: wanted share of wrong accepted results, for ``rate=None``.
        min_copies: (quorum) copies sent out at first; a canonical result matches at least ``min_copies // 2 + 1``.
        target_copies: (quorum) copies wanted at first, at least ``min_copies``.
        max_error: (quorum) attempts that may fail before the task does.
        max_total: attempts of any kind before the task fails.
        comparator: when two results are the same.
    """

    mode: VerifyMode = VerifyMode.AUDIT
    rate: float | None = None
    eps: float = 1e-4
    min_copies: int = 2
    target_copies: int = 2
    max_error: int = 4
    max_total: int = 12
    comparator: Comparator = field(default_factory=Comparator)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one task may take.  A task that takes more fails with the limit's name as its reason.

    Attributes:
        wall_seconds: time from its start on a runner.
        memory_bytes: resident memory of its runner.
        processes: processes and threads of its runner.
        output_bytes: all files it leaves in its working folder, together.
        output_files: how many files.
        output_depth: how deep their folders.
        log_bytes: what is kept of what it printed; the rest is dropped, and counted.
        result_bytes: its encoded result.
        max_attempts: devices that may fail it before the task is failed.
    """

    wall_seconds: float = 600.0
    memory_bytes: int = 2 << 30
    processes: int = 64
    output_bytes: int = 256 << 20
    output_files: int = 1_000
    output_depth: int = 16
    log_bytes: int = 64 << 10
    result_bytes: int = 16 << 20
    max_attempts: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirements:
    """What a device must have.  Empty or zero asks for nothing.

    Attributes:
        engine: the engine that must have passed its self-test on the device.
        operating_systems: any of ``linux``, ``macos``, ``windows``.
        architectures: any of ``x86_64``, ``arm64``.
        python: minor version such as ``3.11``; set by the SDK where code travels pickled.
        memory_bytes: free memory.
        disk_bytes: free disk.
        cpus: cores one task uses.
        gpus: GPUs one task uses.
        gpu_backend: ``cuda``, ``metal`` or ``vulkan``.
        vram_bytes: memory of each GPU.
        sites: any of these sites.
        owners: any of these owners.
        labels: labels that the device must carry, all of them.
    """

    engine: str = "python"
    operating_systems: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    python: str = ""
    memory_bytes: int = 0
    disk_bytes: int = 0
    cpus: int = 1
    gpus: int = 0
    gpu_backend: str = ""
    vram_bytes: int = 0
    sites: tuple[str, ...] = ()
    owners: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()


class Isolation(StrEnum):
    """How far tasks of one job are kept apart on one device."""

    JOB = "job"
    """One warm runner per job and device."""
    TASK = "task"
    """A fresh runner for each task."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """The arguments of all tasks, bound by digest.

    Attributes:
        tasks: how many tasks.
        page_tasks: items in every page but the last.
        pages: digest of the page list, a blob of the pages' digests, 32 bytes each, in order.
    """

    tasks: int
    page_tasks: int
    pages: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """Everything a submitter decides, and signs.

    Attributes:
        name: for people, at most 200 characters.
        bundle: digest of the signed bundle.
        arguments: see ``Arguments``.
        inputs: files that every task sees under ``/in``: name to blob digest.
        requirements: what a device must have.
        limits: what a task may take.
        verify: how results come to be believed.
        isolation: how far tasks are kept apart.
        priority: 0 to 100; higher goes first.
        tenant: on whose account.
        nonce: makes two equal requests two jobs.
        not_after: seconds since the epoch; no device starts it later.
    """

    name: str
    bundle: Digest
    arguments: Arguments
    not_after: float
    nonce: str
    inputs: Mapping[str, Digest] = field(default_factory=dict)
    requirements: Requirements = field(default_factory=Requirements)
    limits: Limits = field(default_factory=Limits)
    verify: VerifyPolicy = field(default_factory=VerifyPolicy)
    isolation: Isolation = Isolation.JOB
    priority: int = 50
    tenant: str = "default"


class Counts(NamedTuple):
    """How many tasks of a job stand where; the sum is the number of its tasks."""

    waiting: int = 0
    ready: int = 0
    leased: int = 0
    provisional: int = 0
    final: int = 0
    failed: int = 0
    cancelled: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job's row.

    Attributes:
        rev: rises with every change; a task that ends carries the rev of that moment (``Task.final_rev``), so that a
            reader who asks for what ended after a rev misses nothing.
        unsettled: tasks that still want or hold a device; at 0 the job can close.
        executions: results that came back, of any purpose.
        audits: audits that were decided.
        mismatches: audits that disagreed.
        audit_rate: the rate in force, 0 to 1.
        error_bound: the bound on the share of wrong accepted results (docs/explanation/verification.md): while it runs
            what its rate promises, at its end what its audits reached.
    """

    id: JobId
    name: str
    submitter: KeyId
    tenant: str
    priority: int
    tasks: int
    created_at: float
    state: JobState = JobState.RUNNING
    finished_at: float = 0.0
    rev: int = 1
    counts: Counts = field(default_factory=Counts)
    unsettled: int = 0
    executions: int = 0
    audits: int = 0
    mismatches: int = 0
    audit_rate: float = 0.0
    error_bound: float = 0.0
    reason: str = ""


class Task(NamedTuple):
    """A task's row (the specification's job shard).

    Attributes:
        purpose: why the copies in ``open`` are wanted.
        open: copies that want a device now.
        live: copies that a device holds now.
        attempts: attempts so far; the next one gets this number.
        failures: attempts that ended without a result, the task's fault or unexplained.
        accepted: number of the attempt whose result is provisional or final, or -1.
        reason: why it failed, or what it waits for.
        ready_at: (waiting) when it becomes ready; (disputed) since when an arbiter is wanted; seconds since the epoch.
        final_rev: (terminal) the job's rev when it ended, else 0.
    """

    job: JobId
    index: int  # type: ignore[assignment]  # a field here, not the method of tuples
    state: TaskState = TaskState.READY
    purpose: Purpose = Purpose.PRIMARY
    open: int = 1
    live: int = 0
    attempts: int = 0
    failures: int = 0
    accepted: int = -1
    reason: str = ""
    ready_at: float = 0.0
    final_rev: int = 0

    @property
    def settled(self) -> bool:
        """Whether nothing more will happen to it unless somebody is caught lying."""
        return self.state in TERMINAL or (self.state is TaskState.PROVISIONAL and self.open == 0 and self.live == 0)
