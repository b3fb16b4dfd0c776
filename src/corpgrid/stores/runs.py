"""Runs: one row for many tasks that follow each other and are alike, and one row for their attempts.

* Fresh tasks are granted in the order of their indexes, and come back by the batch: a grant is a row or two, and so is
  what comes back, whatever the number of tasks.  A job that nobody touched is one row.
* The runs of a job's tasks neither overlap nor leave a gap; those of its tasks' first attempts do not overlap, nor do
  those of the second, and so on.
* A row's key is that of its run's last member: where the front is cut off, which is what a grant does, the row stays.
* Who changes some of a run writes what is left of it, and what is new, as runs of their own (``pieces``).  Nothing is
  joined again.

A task's key is ``job number << 24 | index``, an attempt's ``job number << 36 | number << 24 | index``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import repeat
from struct import pack, unpack
from typing import Any, NamedTuple

from corpgrid.domain.attempt import Attempt, AttemptState
from corpgrid.domain.ids import DeviceId, Digest, Epoch, JobId, OwnerId, SiteId
from corpgrid.domain.job import Purpose, Task, TaskState
from corpgrid.stores.rows import (
    ATTEMPT_STATES,
    INDEX_BITS,
    LAST_INDEX,
    LAST_NUMBER,
    NUMBER_BITS,
    PURPOSES,
    TASK_STATES,
    Row,
    attempt_state_number,
    make_attempt,
    make_task,
    purpose_number,
    task_state_number,
)
from corpgrid.stores.spans import Span, Spanning

JOB_BITS = INDEX_BITS + NUMBER_BITS
"""An attempt's job is above them."""
_NO_DIGEST = Digest(b"")
_NOTHING: Sequence[Sequence[Any]] = ((), (), ())


class TaskRun(NamedTuple):
    """Tasks with the keys from the first to the last.

    Attributes:
        provider: the number of the device whose attempt is accepted, if any.
    """

    first: int
    last: int
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
    provider: int | None = None

    @classmethod
    def of(cls, row: Row) -> TaskRun:
        """A row of ``job_shards``: the key, how many tasks, and the other columns."""
        last, tasks, state, purpose, open_, live, attempts, failures, accepted, reason, *others = row
        copies = (open_, live, attempts, failures, accepted, reason)
        return cls(last - tasks + 1, last, TASK_STATES[state], PURPOSES[purpose], *copies, *others)

    def values(self) -> tuple[Any, ...]:
        """The row."""
        first, last, state, purpose, *others = self
        return (last, last - first + 1, task_state_number(state), purpose_number(purpose), *others)

    def part(self, span: Span) -> TaskRun:
        """Some of it."""
        return make_task_run((*span, *self[2:]))

    def tasks(self, job: JobId, keys: Sequence[int]) -> list[Task]:
        """The tasks with these keys, which are in it."""
        if len(keys) == 1:
            return [make_task((job, keys[0] & LAST_INDEX, *self[2:12]))]
        indexes = map(LAST_INDEX.__and__, keys)
        return list(map(make_task, zip(repeat(job), indexes, *map(repeat, self[2:12]), strict=False)))


class AttemptRun(NamedTuple):
    """Attempts with the keys from the first to the last.

    Attributes:
        device: its number.
        positions: of each attempt 4 bytes, or nothing where all are 0.
        digests: of each so many bytes as of the others.
        seconds: of each 8 bytes, or nothing where all are 0.
    """

    first: int
    last: int
    device: int
    owner: OwnerId
    site: SiteId
    purpose: Purpose
    epoch: Epoch
    state: AttemptState
    batch: int
    reason: str
    positions: bytes = b""
    digests: bytes = b""
    seconds: bytes = b""

    @classmethod
    def of(cls, row: Row) -> AttemptRun:
        """A row of ``job_attempts``: the key, how many attempts, and the other columns."""
        last, tasks, device, owner, site, purpose, epoch, state, batch, reason, *of_each = row
        place = (device, OwnerId(owner), SiteId(site), PURPOSES[purpose])
        end = (ATTEMPT_STATES[state], batch, reason)
        return cls(last - tasks + 1, last, *place, epoch, *end, *of_each)

    def values(self) -> tuple[Any, ...]:
        """The row."""
        first, last, device, owner, site, purpose, epoch, state, *others = self
        place = (device, owner, site, purpose_number(purpose))
        return (last, last - first + 1, *place, epoch, attempt_state_number(state), *others)

    def part(self, span: Span) -> AttemptRun:
        """Some of it."""
        attempts, begin, end = self.last - self.first + 1, span.first - self.first, span.last - self.first + 1
        of_each = (values[begin * len(values) // attempts : end * len(values) // attempts] for values in self[10:])
        return make_attempt_run((*span, *self[2:10], *of_each))

    def tasks(self) -> Span:
        """The keys of its tasks."""
        return Span(task_of(self.first), task_of(self.last))

    def attempts(self, job: JobId, device: DeviceId, keys: Sequence[int]) -> list[Attempt]:
        """The attempts at the tasks with these keys, which are in it."""
        number = self.first >> INDEX_BITS & LAST_NUMBER
        positions, digests, seconds = (
            self._of_each(keys) if self.digests or self.positions or self.seconds else _NOTHING
        )
        fields = zip(
            repeat(job),
            map(LAST_INDEX.__and__, keys),
            *map(repeat, (number, device, *self[3:9])),
            positions or repeat(0),
            digests or repeat(_NO_DIGEST),
            repeat(self.reason),
            seconds or repeat(0.0),
            strict=False,
        )
        return list(map(make_attempt, fields))

    def _of_each(self, keys: Sequence[int]) -> Sequence[Sequence[Any]]:
        """Positions, digests and seconds of the attempts at these tasks; none where all are 0."""
        attempts, begin = self.last - self.first + 1, task_of(self.first)
        of_each: list[Sequence[Any]] = [
            positions_of(self.positions),
            digests_of(self.digests, attempts),
            unpack(f">{len(self.seconds) // 8}d", self.seconds),
        ]
        if len(keys) == attempts:
            return of_each
        return [values and [values[key - begin] for key in keys] for values in of_each]


make_task_run: Callable[[Iterable[Any]], TaskRun] = partial(tuple.__new__, TaskRun)
make_attempt_run: Callable[[Iterable[Any]], AttemptRun] = partial(tuple.__new__, AttemptRun)
"""``_make`` without its check of the length."""


def task_key(job: int, index: int) -> int:
    """The key of a task."""
    return job << INDEX_BITS | index


def task_of(attempt: int) -> int:
    """The key of an attempt's task."""
    return attempt >> JOB_BITS << INDEX_BITS | attempt & LAST_INDEX


def tasks_of(attempts: Span) -> range:
    """The keys of the tasks of these attempts."""
    return range(task_of(attempts.first), task_of(attempts.last) + 1)


def attempts_with(number: int, tasks: Spanning) -> Span:
    """The keys of these tasks' attempts with one number."""
    at = number << INDEX_BITS
    first, last = tasks.first, tasks.last
    return Span(
        (first >> INDEX_BITS << JOB_BITS) + at + (first & LAST_INDEX),
        (last >> INDEX_BITS << JOB_BITS) + at + (last & LAST_INDEX),
    )


def packed_positions(positions: Sequence[int]) -> bytes:
    """Positions as a run has them."""
    return pack(f">{len(positions)}i", *positions) if any(positions) else b""


def packed_seconds(seconds: Sequence[float]) -> bytes:
    """Seconds likewise."""
    return pack(f">{len(seconds)}d", *seconds) if any(seconds) else b""


def positions_of(packed: bytes) -> Sequence[int]:
    """The positions of a run; none where all are 0."""
    return unpack(f">{len(packed) // 4}i", packed)


def digests_of(digests: bytes, attempts: int) -> list[Digest]:
    """The digests of a run with so many attempts; none where they have none."""
    size = len(digests) // attempts
    return [Digest(digests[begin : begin + size]) for begin in range(0, len(digests), size)] if size else []
