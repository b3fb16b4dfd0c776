"""What the grid answers to people, as values; ``wire`` writes them as protobuf, ``sdk`` and ``cli`` read them.

Rules:
* A page of results carries the job as it was when the page was cut, and a ``Cursor`` from which the next page goes on:
  a reader who asks again from the cursor misses nothing and sees nothing twice, over restarts of either side.
* A result's bytes are those that its device signed; where they were too large to travel inline, ``blob`` names them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from corpgrid.domain.attempt import AttemptState
from corpgrid.domain.effects import AuditEntry
from corpgrid.domain.ids import DeviceId, Digest
from corpgrid.domain.job import Job, TaskState, VerifyMode
from corpgrid.domain.messages import OutputFile


class Cursor(NamedTuple):
    """Where a reader of results stands: after task ``index`` of those that ended in revision ``rev`` of the job."""

    rev: int = 0
    index: int = -1  # type: ignore[assignment]  # a field here, not the method of tuples


class TaskResult(NamedTuple):
    """How one task ended, or (provisional) what was committed for it so far.

    Attributes:
        device: whose result it is; empty for a task that failed or was cancelled before any device answered.
        attempt: number of the attempt that gave it, or -1.
        payload: the encoded result (``wire.data``), or empty with ``blob`` set.
        reason: (failed) a short name such as ``raised`` or ``wall_seconds``.
        detail: (failed) the traceback or the limit's story.
    """

    index: int  # type: ignore[assignment]  # a field here, not the method of tuples
    state: TaskState
    device: DeviceId = DeviceId("")
    attempt: int = -1
    payload: bytes = b""
    blob: Digest = Digest(b"")
    seconds: float = 0.0
    reason: str = ""
    detail: str = ""
    outputs: tuple[OutputFile, ...] = ()


class ResultsPage(NamedTuple):
    """Some results of a job.

    Attributes:
        complete: the job has ended, and nothing comes after ``cursor``.
    """

    job: Job
    results: tuple[TaskResult, ...]
    cursor: Cursor
    complete: bool


class AttemptLog(NamedTuple):
    """What one attempt printed, and how it ended."""

    attempt: int
    device: DeviceId
    state: AttemptState
    log: bytes = b""
    log_dropped: int = 0
    reason: str = ""
    detail: str = ""


class Obstacle(NamedTuple):
    """One named reason why work does not run.

    Attributes:
        reason: its short name.
        devices: how many devices it keeps away.
        detail: the same in words.
        remedy: what would help.
    """

    reason: str
    devices: int = 0
    detail: str = ""
    remedy: str = ""


class Explanation(NamedTuple):
    """Why something is not running (or not finished): one sentence, then what stands in the way, the worst first."""

    summary: str
    obstacles: tuple[Obstacle, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How far a job's results can be believed.

    Attributes:
        executions_per_task: what verification cost, as executions over results.
        standing: one sentence: what is accepted, under which bound, and what it still waits for.
        story: the job's lines of the audit log, numbered, oldest first.
    """

    job: Job
    mode: VerifyMode
    executions_per_task: float
    standing: str
    story: tuple[tuple[int, AuditEntry], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GridInfo:
    """The scheduler that answered.

    Attributes:
        now: its clock, seconds since the epoch.
        limits: the named limits in force.
        counters: what it counted since it started.
    """

    version: str
    now: float
    started_at: float
    limits: Mapping[str, float] = field(default_factory=dict)
    counters: Mapping[str, float] = field(default_factory=dict)
