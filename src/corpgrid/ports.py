"""The whole boundary of the grid on one page: what the rules need from the world, as Protocols.

Adapters stand in the rooms above (``stores``, ``blobs``, ``transport``, ``host``, ``runner``), and only ``compose``
names one.  Each port has one contract suite in ``tests/contracts`` that all of its adapters pass.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

from corpgrid.domain.answers import AttemptLog, Cursor, Explanation, GridInfo, Report, ResultsPage
from corpgrid.domain.attempt import Attempt
from corpgrid.domain.device import Device, DeviceState, Facts, Gpu, PowerStatus
from corpgrid.domain.effects import AuditEntry, Checkpoint, Effects, Need, View
from corpgrid.domain.ids import DeviceId, Digest, JobId
from corpgrid.domain.job import Job, JobState, Task, TaskState
from corpgrid.domain.messages import (
    CheckpointRequest,
    HeartbeatRequest,
    PollReply,
    PollRequest,
    RegisterReply,
    RegisterRequest,
    Reply,
    SubmitRequest,
)

Decide = Callable[[View], Effects]


class Clock(Protocol):
    """The only way to know the time."""

    def now(self) -> float:
        """Seconds since the epoch; may step."""

    def monotonic(self) -> float:
        """Seconds since some start; never steps back."""


class StoredResult(NamedTuple):
    """The accepted result of a task that ended well.

    Attributes:
        content: the signed batch in which it came, and ``position`` its place there.
    """

    task: Task
    device: DeviceId
    batch: int
    position: int


class Store(Protocol):
    """All state of the grid.  ``transact`` is the only way to change it."""

    async def transact(self, need: Need, decide: Decide) -> Effects:
        """Read ``need``, call ``decide`` once with it, and commit what it returns, all in one durable transaction.

        The effects are returned after the commit.  ``decide`` must not block; it may be called in another thread.

        Raises:
            StaleError: another writer changed the rows in between; nothing was changed, and the caller tries again.
            StoreError: the store failed (disk full, connection lost); nothing was changed.
        """

    async def job(self, job: JobId) -> Job | None:
        """One job, or None."""

    async def jobs(self, *, states: Sequence[JobState] = (), limit: int = 100) -> list[Job]:
        """The newest jobs, newest first."""

    async def envelope(self, job: JobId) -> bytes | None:
        """The signed specification as it was submitted."""

    async def tasks(
        self, job: JobId, *, states: Sequence[TaskState] = (), after: int = -1, limit: int = 1_000
    ) -> list[Task]:
        """Tasks of a job with an index above ``after``, by index."""

    async def attempts(self, job: JobId, index: int) -> list[Attempt]:
        """All attempts of one task, by number."""

    async def ended(self, job: JobId, *, after: tuple[int, int], limit: int) -> list[StoredResult]:
        """Tasks that ended after ``(final_rev, index)``, in that order; failed and cancelled ones with batch 0."""

    async def provisional(self, job: JobId, *, after: int = -1, limit: int = 1_000) -> list[StoredResult]:
        """Provisional results with an index above ``after``, by index."""

    async def batches(self, numbers: Sequence[int]) -> Mapping[int, bytes]:
        """Stored batches by number, as they arrived."""

    async def device(self, device: DeviceId) -> Device | None:
        """One device, or None."""

    async def devices(self) -> list[Device]:
        """All devices, by id."""

    async def checkpoints(self, job: JobId, index: int) -> list[Checkpoint]:
        """Checkpoints of one task, newest first."""

    async def audit_log(self, *, subject: str = "", after: int = 0, limit: int = 1_000) -> list[tuple[int, AuditEntry]]:
        """Numbered lines of the audit log, oldest first."""

    async def referenced(self) -> AsyncIterator[Digest]:
        """Every digest that a live row names; garbage collection keeps these."""

    async def last_seen(self) -> float:
        """When a tick last committed, seconds since the epoch; 0 for a new store."""

    async def close(self) -> None:
        """Finish what is under way and let go."""


class Blobs(Protocol):
    """Bytes by digest.  What is read has been verified; what is put is durable when the call returns."""

    async def put(self, content: bytes) -> Digest:
        """Store bytes; storing them again costs nothing.

        Raises:
            StoreError: no space, or no permission.
        """

    async def put_file(self, path: Path) -> Digest:
        """Store a file's bytes without reading it whole into memory."""

    async def put_stream(self, chunks: AsyncIterator[bytes], *, expected: Digest | None = None) -> Digest:
        """Store a stream.

        Raises:
            DigestError: the bytes are not those of ``expected``; nothing is kept.
        """

    async def get(self, digest: Digest) -> bytes:
        """All bytes.

        Raises:
            NotFoundError: no such blob.
            DigestError: the stored bytes are damaged; they are set aside, never returned.
        """

    def open(self, digest: Digest, *, offset: int = 0) -> AsyncIterator[bytes]:
        """The bytes from ``offset`` in chunks; the last chunk is only given once the whole was verified (offset 0)."""

    async def fetch(self, digest: Digest, target: Path) -> None:
        """Write the verified bytes to a new file."""

    async def missing(self, digests: Sequence[Digest]) -> list[Digest]:
        """Those of ``digests`` that are not here."""

    async def size(self, digest: Digest) -> int | None:
        """Bytes, or None if it is not here."""

    async def collect(self, referenced: AsyncIterator[Digest], *, older_than_seconds: float) -> int:
        """Delete blobs that nothing references and that are older than the grace time; how many."""


class BlobApi(Protocol):
    """Bytes by digest, as those see them who ask a scheduler for them."""

    async def get_blob(self, digest: Digest) -> bytes:
        """A small blob, whole and verified."""

    async def fetch_blob(self, digest: Digest, target: Path) -> None:
        """A large blob into a new file, verified."""

    async def put_blob(self, content: bytes) -> Digest:
        """Store bytes."""

    async def put_blob_file(self, path: Path) -> Digest:
        """Store a file."""

    async def missing_blobs(self, digests: Sequence[Digest]) -> list[Digest]:
        """Those of ``digests`` that are not stored."""

    async def close(self) -> None:
        """Let go of the connection."""


class SchedulerApi(BlobApi, Protocol):
    """What an agent may ask of a scheduler: the specification's five RPCs, and blobs.

    Raises (all of them):
        UnavailableError: nobody answered in time.
        OverloadedError: come back later.
        RefusedError: the session is not known (register again), or the device may not take part.
    """

    async def register(self, request: RegisterRequest) -> RegisterReply:
        """RegisterAgent."""

    async def poll(self, request: PollRequest) -> PollReply:
        """PollJobs, a long poll."""

    async def heartbeat(self, request: HeartbeatRequest) -> Reply:
        """Heartbeat."""

    async def submit(self, request: SubmitRequest) -> Reply:
        """SubmitResult."""

    async def checkpoint(self, request: CheckpointRequest) -> Reply:
        """ReportCheckpoint."""


class GridApi(BlobApi, Protocol):
    """What submitters, owners and operators may ask of a scheduler.

    Raises (all of them):
        UnavailableError, OverloadedError: trying again is safe.
        NotFoundError: no such job, task or device.
    """

    async def info(self) -> GridInfo:
        """Who answers, and under which limits."""

    async def submit_job(self, envelope: bytes, *, blobs: Sequence[bytes] = ()) -> Job:
        """Store small blobs, then the job, all of whose blobs must be stored; the same envelope names the same job."""

    async def cancel_job(self, job: JobId, *, reason: str = "") -> Job:
        """No more of it; a job that ended stays as it is."""

    async def job(self, job: JobId) -> Job:
        """One job."""

    async def jobs(self, *, states: Sequence[JobState] = (), limit: int = 100) -> list[Job]:
        """The newest jobs, newest first."""

    async def tasks(
        self, job: JobId, *, states: Sequence[TaskState] = (), after: int = -1, limit: int = 1_000
    ) -> list[Task]:
        """Tasks with an index above ``after``, by index."""

    async def attempts(self, job: JobId, index: int) -> list[Attempt]:
        """All attempts of a task, by number."""

    async def results(self, job: JobId, *, after: Cursor, limit: int = 1_000, wait_seconds: float = 0) -> ResultsPage:
        """What ended after the cursor; while nothing did and the job runs, waits."""

    async def provisional(self, job: JobId, *, after: Cursor, limit: int = 1_000) -> ResultsPage:
        """What may still be audited, with an index above the cursor's."""

    async def log(self, job: JobId, index: int) -> list[AttemptLog]:
        """What each attempt of a task printed."""

    async def explain_job(self, job: JobId) -> Explanation:
        """Why it has not ended."""

    async def report(self, job: JobId) -> Report:
        """How far its results can be believed."""

    async def devices(self) -> list[Device]:
        """All devices, by id."""

    async def device(self, device: DeviceId) -> Device:
        """One device."""

    async def set_device(self, device: DeviceId, state: DeviceState, *, reason: str = "") -> Device:
        """Pause, resume, drain, quarantine or revoke it; ``ConflictError`` where its state forbids that."""

    async def explain_device(self, device: DeviceId) -> Explanation:
        """Why it has no work."""


class PowerProbe(Protocol):
    """Whether mains power feeds the machine."""

    def read(self) -> PowerStatus:
        """Now; at most a millisecond."""


class PresenceProbe(Protocol):
    """Whether the owner is there."""

    def idle_seconds(self) -> float | None:
        """Seconds since the last input, or None where no one can ever sit (a server)."""


class ThermalProbe(Protocol):
    """How warm the machine is."""

    def headroom(self) -> float:
        """0 (at its limit) to 1 (cold); 1 where no sensor tells."""


class GpuProbe(Protocol):
    """Which GPUs there are."""

    def gpus(self) -> tuple[Gpu, ...]:
        """All that a driver answers for; empty without a driver."""


class FactsProbe(Protocol):
    """What the device is."""

    def facts(self) -> Facts:
        """Now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxLimits:
    """What one runner may take; enforced by the strongest means the host has."""

    memory_bytes: int
    processes: int
    work_bytes: int
    work_files: int
    open_files: int = 1024
    tmp_bytes: int = 256 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxSpec:
    """One runner's world.  Nothing of the host that is not named here is visible inside.

    Attributes:
        argv: the command, as seen inside.
        env: its whole environment.
        read_only: host folder or file to the path at which it is seen, read-only.
        work: host folder that becomes ``/work``, writable, the working folder.
        network: whether the host's network is granted.
        gpus: indexes of GPUs granted.
    """

    argv: tuple[str, ...]
    work: Path
    limits: SandboxLimits
    env: Mapping[str, str] = field(default_factory=dict)
    read_only: Mapping[Path, str] = field(default_factory=dict)
    network: bool = False
    gpus: tuple[int, ...] = ()


class SandboxExit(NamedTuple):
    """How a sandboxed process ended.

    Attributes:
        code: exit status, or minus the signal.
        reason: ``exited``, ``signal``, ``memory_bytes``, ``processes``, ``work_bytes``, ``work_files``, ``killed``.
    """

    code: int
    reason: str


class SandboxProcess(Protocol):
    """A running sandbox.  Its standard input and output are the control pipes, its standard error the log."""

    @property
    def pid(self) -> int:
        """Of the outermost process, on the host."""

    async def write(self, data: bytes) -> None:
        """To its standard input; waits while the pipe is full."""

    async def read(self) -> bytes:
        """At most 1 MiB of its standard output; empty at its end."""

    async def read_log(self) -> bytes:
        """At most 64 KiB of its standard error; empty at its end."""

    def freeze(self) -> None:
        """Stop every process in it, at once; the caller may be sure when it returns."""

    def thaw(self) -> None:
        """Let them go on."""

    def kill(self) -> None:
        """End every process in it; nothing survives."""

    async def wait(self) -> SandboxExit:
        """Until everything in it is gone and reaped."""


class Gate(NamedTuple):
    """One canary probe of a sandbox's self-test."""

    name: str
    passed: bool
    detail: str = ""
    remedy: str = ""


class Sandbox(Protocol):
    """Runs a command that can touch nothing it was not given."""

    name: str

    async def self_test(self) -> list[Gate]:
        """Canary probes through the real sandbox; the agent takes no jobs unless all pass."""

    async def start(self, spec: SandboxSpec) -> SandboxProcess:
        """Start a command.

        Raises:
            SandboxError: it cannot be started.
        """
