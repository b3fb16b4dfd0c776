"""The rows of one tick while it is being decided: the view underneath, the changes on top.

Everything that decides writes through a ``Draft``: it checks each move against its state chart, keeps each job's counts
equal to its tasks, and in the end gives the ``Effects``.  A row that is put twice is written once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from corpgrid.domain.attempt import ATTEMPT_MOVES, Attempt, Lease
from corpgrid.domain.device import DEVICE_MOVES, Device, DeviceState
from corpgrid.domain.effects import AuditEntry, Checkpoint, Effects, NewJob, Standing, StoredBatch, View
from corpgrid.domain.ids import DeviceId, Digest, Epoch, JobId, TaskKey, task_text
from corpgrid.domain.job import TASK_MOVES, TERMINAL, Counts, Job, JobSpec, JobState, Task, TaskState
from corpgrid.domain.rows import changed
from corpgrid.errors import IllegalMoveError

_COLUMN: Mapping[TaskState, int] = {state: Counts._fields.index(state.value) for state in TaskState}
_UNSETTLED = len(Counts._fields)


@dataclass(slots=True)
class Tally:
    """What one tick adds to a job's numbers."""

    executions: int = 0
    audits: int = 0
    mismatches: int = 0


class Draft:
    """One tick's changes over one view."""

    def __init__(self, view: View) -> None:
        self.view = view
        self.now = view.now
        self.next_epoch = view.next_epoch
        self.next_batch = view.next_batch
        self.replies: dict[int, object] = {}
        self.audit: list[AuditEntry] = []
        self.batches: list[StoredBatch] = []
        self._new_jobs: dict[JobId, NewJob] = {}
        self.finalised: list[JobId] = []
        self.cancelled: list[JobId] = []
        self.checkpoints: list[Checkpoint] = []
        self.extend_leases_seconds = 0.0
        self.quarantined: set[DeviceId] = set()
        self._jobs: dict[JobId, Job] = {}
        self._deltas: dict[JobId, list[int]] = {}
        self._tallies: dict[JobId, Tally] = {}
        self._tasks: dict[TaskKey, Task] = {}
        self._attempts: dict[TaskKey, list[Attempt]] = {}
        self._changed_attempts: dict[tuple[TaskKey, int], Attempt] = {}
        self._new_attempts: dict[tuple[TaskKey, int], Attempt] = {}
        self._leases: dict[Epoch, Lease] = {}
        self._epochs: dict[DeviceId, dict[Epoch, None]] | None = None
        self._devices: dict[DeviceId, Device] = {}
        self._standings: dict[tuple[DeviceId, Digest], Standing] = {}

    # -- jobs

    def job(self, job: JobId) -> Job | None:
        """The job as it stands in this tick; its counts are those of the view until ``effects``."""
        return self._jobs.get(job) or self.view.jobs.get(job)

    def add_job(self, new: NewJob) -> None:
        """A new job."""
        self._new_jobs[new.job.id] = new
        self._jobs[new.job.id] = new.job

    def spec(self, job: JobId) -> JobSpec:
        """The specification of a job of the view, or of this tick."""
        new = self._new_jobs.get(job)
        return self.view.specs[job] if new is None else new.spec

    def put_job(self, job: Job) -> None:
        """Change a job."""
        self._jobs[job.id] = job

    def next_rev(self, job: JobId) -> int:
        """The rev that the job has after this tick."""
        return self.view.jobs[job].rev + 1

    def counted(self, job: JobId) -> Job:
        """The job with its counts as this tick leaves them."""
        new = self._new_jobs.get(job)
        before = self.view.jobs[job] if new is None else new.job
        row = self._jobs.get(job, before)
        delta = self._deltas.get(job)
        if delta is None:
            return row
        tally = self.tally(job)
        counts = Counts(*(old + change for old, change in zip(before.counts, delta[:_UNSETTLED], strict=True)))
        assert min(counts) >= 0, (job, before.counts, delta)
        return changed(
            row,
            counts=counts,
            unsettled=before.unsettled + delta[_UNSETTLED],
            executions=before.executions + tally.executions,
            audits=before.audits + tally.audits,
            mismatches=before.mismatches + tally.mismatches,
            rev=before.rev + (new is None),
        )

    def unsettled(self, job: JobId) -> int:
        """How many tasks of a job of the view still want or hold a device, as this tick leaves them."""
        before, delta = self.view.jobs[job], self._deltas.get(job)
        return self._jobs.get(job, before).unsettled if delta is None else before.unsettled + delta[_UNSETTLED]

    def tally(self, job: JobId) -> Tally:
        """What this tick adds to a job's numbers."""
        return self._tallies.setdefault(job, Tally())

    # -- tasks

    def task(self, key: TaskKey) -> Task | None:
        """The task as it stands in this tick."""
        return self._tasks.get(key) or self.view.tasks.get(key) or self._first(key)

    def _first(self, key: TaskKey) -> Task | None:
        """The first row of a task whose job came in this tick."""
        new = self._new_jobs.get(key[0])
        return Task(*key, open=new.copies) if new is not None and key[1] < new.job.tasks else None

    def ready(self, most: int) -> Iterator[TaskKey]:
        """Tasks that want a device: those of the view, then up to ``most`` of each job that came in this tick."""
        yield from self.view.ready
        for new in self._new_jobs.values():
            yield from ((new.job.id, index) for index in range(min(new.job.tasks, most)))

    def put_task(self, old: Task, new: Task) -> None:
        """Change a task; a terminal one gets the job's rev of this tick.

        Raises:
            IllegalMoveError: the chart does not allow the move.
        """
        if new == old:
            return
        if new.state is not old.state:
            self._check_move(old, new.state)
            if new.state in TERMINAL:
                new = Task(*new[:-1], self.next_rev(new.job))
        assert new.open >= 0, new
        assert new.live >= 0, new
        self._count_moves(new.job, old.state, new.state, 1, old.settled - new.settled)
        self._tasks[(new.job, new.index)] = new

    def put_moved(self, old: Task, new: Task, tasks: Mapping[TaskKey, Task]) -> None:
        """Change tasks of one job that all make the move from ``old`` to ``new``, of which these are an example.

        Raises:
            IllegalMoveError: the chart does not allow the move.
        """
        self._check_move(old, new.state)
        assert (new.state in TERMINAL) == (new.final_rev > 0), new
        self._count_moves(new.job, old.state, new.state, len(tasks), len(tasks) * (old.settled - new.settled))
        self._tasks.update(tasks)

    def _check_move(self, old: Task, state: TaskState) -> None:
        if state is old.state or state in TASK_MOVES[old.state]:
            return
        key = (old.job, old.index)
        story = tuple(map(str, self.attempts(key)))
        raise IllegalMoveError(f"task {task_text(key)}", old=old.state, new=state, story=story)

    def _count_moves(self, job: JobId, old: TaskState, new: TaskState, count: int, unsettled: int) -> None:
        delta = self._deltas.get(job)
        if delta is None:
            delta = self._deltas[job] = [0] * (_UNSETTLED + 1)
        delta[_COLUMN[old]] -= count
        delta[_COLUMN[new]] += count
        delta[_UNSETTLED] += unsettled

    # -- attempts

    def attempts(self, key: TaskKey) -> list[Attempt]:
        """All attempts of a task by number; the list is the draft's own."""
        found = self._attempts.get(key)
        if found is None:
            found = self._attempts[key] = list(self.view.attempts.get(key, ()))
        return found

    def only_attempt(self, key: TaskKey) -> Attempt | None:
        """The attempt of a task that has had but one."""
        rows = self._attempts.get(key) or self.view.attempts.get(key)
        return rows[0] if rows is not None and len(rows) == 1 else None

    def put_only_attempt(self, key: TaskKey, attempt: Attempt) -> None:
        """Change the one attempt of a task of the view, from live to its end."""
        self._attempts[key] = [attempt]
        self._changed_attempts[(key, attempt.number)] = attempt

    def add_first_attempt(self, key: TaskKey, attempt: Attempt) -> None:
        """A new attempt of a task that had none."""
        self._attempts[key] = [attempt]
        self._new_attempts[(key, attempt.number)] = attempt

    def add_attempt(self, attempt: Attempt) -> None:
        """A new attempt."""
        key = (attempt.job, attempt.index)
        rows = self.attempts(key)
        assert attempt.number == len(rows), (attempt, rows)
        rows.append(attempt)
        self._new_attempts[(key, attempt.number)] = attempt

    def put_attempt(self, attempt: Attempt) -> None:
        """Change an attempt.

        Raises:
            IllegalMoveError: the chart does not allow the move.
        """
        key = (attempt.job, attempt.index)
        rows = self.attempts(key)
        old = rows[attempt.number]
        if old.state is not attempt.state and attempt.state not in ATTEMPT_MOVES[old.state]:
            raise IllegalMoveError(
                f"attempt {task_text(key)}/{attempt.number}",
                old=old.state,
                new=attempt.state,
                story=tuple(map(str, rows)),
            )
        rows[attempt.number] = attempt
        mark = (key, attempt.number)
        if mark in self._new_attempts:
            self._new_attempts[mark] = attempt
        else:
            self._changed_attempts[mark] = attempt

    # -- leases

    def lease(self, epoch: Epoch) -> Lease | None:
        """The lease, or None if it is gone."""
        found = self._leases.get(epoch) or self.view.leases.get(epoch)
        return found if found is not None and found.remaining > 0 else None

    def put_lease(self, lease: Lease) -> None:
        """Change or add a lease; with nothing remaining it is gone."""
        self._leases[lease.epoch] = lease
        if self._epochs is not None:
            self._epochs.setdefault(lease.device, {})[lease.epoch] = None

    def leases_of(self, device: DeviceId) -> list[Lease]:
        """The leases that a device holds; those of the view are complete for the devices that were needed."""
        if self._epochs is None:
            # Once a tick: a large one asks for the leases of thousands of devices.
            self._epochs = {}
            for lease in (*self.view.leases.values(), *self._leases.values()):
                self._epochs.setdefault(lease.device, {})[lease.epoch] = None
        found = map(self.lease, self._epochs.get(device, ()))
        return [lease for lease in found if lease is not None]

    def grant_epoch(self) -> Epoch:
        """An epoch that no lease ever had."""
        self.next_epoch += 1
        return Epoch(self.next_epoch - 1)

    # -- devices

    def device(self, device: DeviceId) -> Device | None:
        """The device as it stands in this tick."""
        return self._devices.get(device) or self.view.devices.get(device)

    def put_device(self, device: Device) -> None:
        """Change or add a device.

        Raises:
            IllegalMoveError: the chart does not allow the move.
        """
        old = self.device(device.id)
        if old is not None and old.state is not device.state:
            if device.state not in DEVICE_MOVES[old.state]:
                raise IllegalMoveError(f"device {device.id}", old=old.state, new=device.state)
            if device.state in {DeviceState.QUARANTINED, DeviceState.REVOKED}:
                self.quarantined.add(device.id)
        self._devices[device.id] = device

    def may_move(self, device: Device, state: DeviceState) -> bool:
        """Whether the chart allows it."""
        return state in DEVICE_MOVES[device.state]

    def standing(self, device: DeviceId, bundle: Digest) -> Standing | None:
        """How much of a bundle the device has done."""
        mark = (device, bundle)
        return self._standings.get(mark) or self.view.standings.get(mark)

    def put_standing(self, standing: Standing) -> None:
        """Change or add a standing."""
        self._standings[(standing.device, standing.bundle)] = standing

    # -- the rest

    def note(self, kind: str, subject: str, actor: str, detail: str = "") -> None:
        """Write a line of the audit log."""
        self.audit.append(AuditEntry(at=self.now, kind=kind, subject=subject, actor=actor, detail=detail))

    def touched_jobs(self) -> list[JobId]:
        """Jobs with a change in this tick, of those that stood before it."""
        return [job for job in dict.fromkeys([*self._jobs, *self._deltas]) if job in self.view.jobs]

    def close_job(self, row: Job, *, error_bound: float) -> Job:
        """End a job whose tasks all ended or are provisional: the provisional ones become final with it."""
        counts = row.counts
        if counts.provisional:
            self.finalised.append(row.id)
        return self._end_job(
            row,
            counts._replace(final=counts.final + counts.provisional, provisional=0),
            state=JobState.FAILED if counts.failed else JobState.DONE,
            reason=f"{counts.failed} of {row.tasks} tasks failed" if counts.failed else "",
            error_bound=error_bound,
        )

    def cancel_job(self, row: Job, *, reason: str) -> Job:
        """End a job now; nothing of it that is not final counts any more."""
        counts = row.counts
        gone = counts.waiting + counts.ready + counts.leased + counts.provisional
        moved = Counts(final=counts.final, failed=counts.failed, cancelled=counts.cancelled + gone)
        self.cancelled.append(row.id)
        return self._end_job(row, moved, state=JobState.CANCELLED, reason=reason, unsettled=0)

    def _end_job(self, row: Job, counts: Counts, **changes: Any) -> Job:
        self._deltas.pop(row.id, None)
        rev = self.next_rev(row.id)
        done = self._jobs[row.id] = changed(row, counts=counts, rev=rev, finished_at=self.now, **changes)
        return done

    def effects(self) -> Effects:
        """Everything that changed."""
        jobs = tuple(self.counted(job) if job in self._deltas else self._bumped(job) for job in self.touched_jobs())
        return Effects(
            new_jobs=tuple(NewJob(self.counted(job), *new[1:]) for job, new in self._new_jobs.items()),
            jobs=jobs,
            tasks=tuple(self._tasks.values()),
            new_attempts=tuple(self._new_attempts.values()),
            attempts=tuple(self._changed_attempts.values()),
            leases=tuple(self._leases.values()),
            devices=tuple(self._devices.values()),
            standings=tuple(self._standings.values()),
            batches=tuple(self.batches),
            finalised=tuple(self.finalised),
            cancelled=tuple(self.cancelled),
            checkpoints=tuple(self.checkpoints),
            audit=tuple(self.audit),
            extend_leases_seconds=self.extend_leases_seconds,
            replies=self.replies,
        )

    def _bumped(self, job: JobId) -> Job:
        row, before = self._jobs[job], self.view.jobs[job]
        return row if row.rev > before.rev else changed(row, rev=before.rev + 1)
