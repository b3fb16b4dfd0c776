"""What comes back: each ended attempt changes its task as ``verification.judge`` says, and its device's reputation.

* A result counts only if its attempt is still live under the device and epoch that bring it (the fencing token).
* A device that is found wrong is quarantined at once; its results in the same batch are not taken, and what it
  committed before and nobody checked is run again (``admin.sweep``).
* Only verified outcomes move correctness; lost leases and dead runners move availability.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from hashlib import blake2b

from corpgrid.domain.attempt import LIVE, Attempt, AttemptState
from corpgrid.domain.device import Device, DeviceState, Facts
from corpgrid.domain.draft import Draft
from corpgrid.domain.effects import Standing, StoredBatch
from corpgrid.domain.ids import DeviceId, Digest, JobId, TaskKey, task_text
from corpgrid.domain.job import ComparatorKind, Job, JobSpec, JobState, Purpose, Task, TaskState, VerifyMode
from corpgrid.domain.leases import accepts, retry_delay_seconds
from corpgrid.domain.messages import Batch, Item, Outcome
from corpgrid.domain.reputation import OutcomeKind, Tier, observe, tier
from corpgrid.domain.rules import GridRules
from corpgrid.domain.verification import Circumstances, Verdict, audit_coin, judge

_OUT = frozenset({DeviceState.QUARANTINED, DeviceState.REVOKED})
_ENDS: Mapping[Outcome, AttemptState] = {
    Outcome.RESULT: AttemptState.RETURNED,
    Outcome.FAILED: AttemptState.CRASHED,
    Outcome.CRASHED: AttemptState.CRASHED,
    Outcome.STOPPED: AttemptState.STOPPED,
    Outcome.REFUSED: AttemptState.REFUSED,
}


class Intake:
    """Takes what comes back into one draft."""

    def __init__(self, draft: Draft, rules: GridRules) -> None:
        self.draft = draft
        self.rules = rules
        self._payloads = dict(draft.view.payloads)
        self._circumstances: dict[JobId, Circumstances] = {}
        self._barred: set[DeviceId] = set()
        self._shapes: dict[DeviceId, Digest] = {}

    def take(self, device: DeviceId, batch: Batch) -> int:
        """Take one verified batch; how many of its items counted."""
        draft = self.draft
        job = draft.job(batch.job)
        if job is None or job.state is not JobState.RUNNING:
            return 0
        row = draft.device(device)
        if row is not None and row.state in _OUT:
            self._barred.add(device)
        number, counted, returned = draft.next_batch, 0, 0
        for position, item in enumerate(batch.items):
            if self._take_item(device, batch, item, number, position):
                counted += 1
                returned += item.outcome is Outcome.RESULT
        if counted:
            draft.next_batch += 1
            draft.batches.append(StoredBatch(number=number, job=batch.job, device=device, content=batch.content))
            draft.tally(batch.job).executions += returned
            self._reward(device, returned)
        return counted

    def release(self, attempt: Attempt, state: AttemptState, reason: str) -> None:
        """End a live attempt that brought nothing."""
        self._end(attempt._replace(state=state, reason=reason))

    def run_again(self, task: Task) -> None:
        """Want a task's result anew: what it had is not believed any more."""
        attempt = self.draft.attempts((task.job, task.index))[task.accepted]
        self.draft.put_attempt(attempt._replace(state=AttemptState.REJECTED, reason="device quarantined"))
        self._judge((task.job, task.index), task, task._replace(accepted=-1, purpose=Purpose.PRIMARY))

    def waive_audit(self, task: Task) -> None:
        """Make a trusted device's result final if nobody is there who could audit it."""
        attempt = self.draft.attempts((task.job, task.index))[task.accepted]
        if self._trusted(attempt.device) and self._alone(attempt):
            self._judge((task.job, task.index), task, task)

    def _take_item(self, device: DeviceId, batch: Batch, item: Item, number: int, position: int) -> bool:
        attempts = self.draft.attempts((batch.job, item.index))
        if not 0 <= item.attempt < len(attempts):
            return False
        attempt = attempts[item.attempt]
        if not accepts(attempt, device=device, epoch=item.epoch):
            return False
        if device in self._barred or device in self.draft.quarantined:
            self.release(attempt, AttemptState.STOPPED, "quarantined")
            return True
        if item.payload and self.draft.spec(batch.job).verify.comparator.kind is not ComparatorKind.BYTES:
            self._payloads[(number, position)] = item.payload
        self._end(
            attempt._replace(
                state=_ENDS[item.outcome],
                batch=number,
                position=position,
                digest=batch.digests[position],
                reason=item.reason,
                seconds=item.seconds,
            )
        )
        if item.outcome is Outcome.CRASHED:
            self._observe(device, OutcomeKind.CRASH)
        return True

    def _end(self, attempt: Attempt) -> None:
        draft, key = self.draft, (attempt.job, attempt.index)
        draft.put_attempt(attempt)
        lease = draft.lease(attempt.epoch)
        if lease is not None:
            draft.put_lease(lease._replace(remaining=lease.remaining - 1))
        old = draft.task(key)
        assert old is not None
        assert old.live > 0, old
        task = old._replace(live=old.live - 1)
        if attempt.state in {AttemptState.CRASHED, AttemptState.REFUSED}:
            task = task._replace(failures=task.failures + 1)
        self._judge(key, old, task)

    def _judge(self, key: TaskKey, old: Task, task: Task) -> None:
        spec = self.draft.spec(task.job)
        attempts = self.draft.attempts(key)
        verdict = judge(
            spec.verify, spec.limits, attempts, copies_out=task.open + task.live, given=self._given(task.job)
        )
        self._apply(key, old, task, verdict)

    def _apply(self, key: TaskKey, old: Task, task: Task, verdict: Verdict) -> None:
        self._mark(key, verdict)
        draft = self.draft
        if verdict.final or verdict.failed:
            state = TaskState.FAILED if verdict.failed else TaskState.FINAL
            accepted = -1 if verdict.failed else verdict.accepted
            draft.put_task(old, task._replace(state=state, open=0, live=0, accepted=accepted, reason=verdict.failed))
            self._dismiss(key)
            return
        if verdict.want and verdict.purpose is Purpose.AUDIT and old.accepted < 0:
            draft.tally(task.job).audits += 1
        if verdict.want and verdict.purpose is Purpose.ARBITER and old.purpose is not Purpose.ARBITER:
            draft.tally(task.job).mismatches += 1
            draft.note("task.disputed", task_text(key), "scheduler")
        purpose = verdict.purpose if verdict.want else task.purpose
        changed = task._replace(open=task.open + verdict.want, purpose=purpose, accepted=verdict.accepted)
        draft.put_task(old, self._placed(changed, failed=task.failures > old.failures))

    def _placed(self, task: Task, *, failed: bool) -> Task:
        """The task in the state that its copies give it."""
        if task.accepted >= 0:
            return task._replace(state=TaskState.PROVISIONAL)
        if task.live:
            return task._replace(state=TaskState.LEASED)
        delay = retry_delay_seconds(task.failures)
        if failed and delay > 0:
            return task._replace(state=TaskState.WAITING, ready_at=self.draft.now + delay, reason="retry")
        return task._replace(state=TaskState.READY)

    def _mark(self, key: TaskKey, verdict: Verdict) -> None:
        """Write into the attempts what the verdict says of them, and into their devices what that says of these."""
        attempts = self.draft.attempts(key)
        if verdict.accepted >= 0 and not verdict.winners:
            attempt = attempts[verdict.accepted]
            if attempt.state is AttemptState.RETURNED:
                self.draft.put_attempt(attempt._replace(state=AttemptState.ACCEPTED))
        for number in verdict.winners:
            attempt = attempts[number]
            self.draft.put_attempt(attempt._replace(state=AttemptState.ACCEPTED))
            self._proven_right(attempt)
        for number in verdict.losers:
            attempt = attempts[number]
            self.draft.put_attempt(attempt._replace(state=AttemptState.REJECTED, reason="mismatch"))
            self._proven_wrong(attempt, key)

    def _proven_right(self, attempt: Attempt) -> None:
        self._observe(attempt.device, OutcomeKind.SUCCESS)
        standing = self.draft.standing(attempt.device, self.draft.spec(attempt.job).bundle)
        if standing is not None:
            self.draft.put_standing(standing._replace(passed=standing.passed + 1))

    def _proven_wrong(self, attempt: Attempt, key: TaskKey) -> None:
        self._observe(attempt.device, OutcomeKind.MISMATCH)
        device = self.draft.device(attempt.device)
        if device is None or device.state in _OUT:
            return
        mode = self.draft.spec(attempt.job).verify.mode
        if mode is VerifyMode.AUDIT or tier(device.correctness) is Tier.BAD:
            quarantine(self.draft, device, f"its result of {task_text(key)} differed from two that agree")

    def _dismiss(self, key: TaskKey) -> None:
        """The task ended: copies still out are not needed any more."""
        for attempt in list(self.draft.attempts(key)):
            if attempt.state in LIVE:
                self.draft.put_attempt(attempt._replace(state=AttemptState.STOPPED, reason="not_needed"))
                lease = self.draft.lease(attempt.epoch)
                if lease is not None:
                    self.draft.put_lease(lease._replace(remaining=lease.remaining - 1))

    def _reward(self, device: DeviceId, returned: int) -> None:
        row = self.draft.device(device)
        if row is None or not returned:
            return
        availability = observe(row.availability, OutcomeKind.SUCCESS, now=self.draft.now, count=returned)
        self.draft.put_device(replace(row, completed=row.completed + returned, availability=availability))

    def _observe(self, device: DeviceId, kind: OutcomeKind) -> None:
        row = self.draft.device(device)
        if row is not None:
            self.draft.put_device(observed(row, kind, now=self.draft.now))

    def _given(self, job: JobId) -> Circumstances:
        found = self._circumstances.get(job)
        if found is None:
            row = self.draft.job(job)
            assert row is not None
            spec = self.draft.spec(job)
            found = self._circumstances[job] = Circumstances(
                same=partial(self._same, spec),
                trusted=self._trusted,
                tier=self._tier,
                audit_due=partial(self._audit_due, spec, row),
                alone=self._alone,
            )
        return found

    def _same(self, spec: JobSpec, one: Attempt, two: Attempt) -> bool:
        if one.digest == two.digest:
            return True
        comparator = spec.verify.comparator
        if comparator.kind is ComparatorKind.BYTES:
            return False
        first = self._payloads.get((one.batch, one.position))
        second = self._payloads.get((two.batch, two.position))
        return first is not None and second is not None and self.rules.agree(comparator, first, second)

    def _trusted(self, device: DeviceId) -> bool:
        row = self.draft.device(device)
        return row is not None and row.trusted

    def _tier(self, device: DeviceId) -> Tier:
        row = self.draft.device(device)
        return tier(row.correctness) if row is not None else Tier.UNPROVEN

    def _alone(self, attempt: Attempt) -> bool:
        return not any(presence.active for owner, presence in self.draft.view.owners.items() if owner != attempt.owner)

    def _audit_due(self, spec: JobSpec, job: Job, attempt: Attempt) -> bool:
        device = self.draft.device(attempt.device)
        assert device is not None
        shape = self._shapes.get(device.id) or self._shapes.setdefault(device.id, fingerprint(device.facts))
        standing = self.draft.standing(device.id, spec.bundle)
        if standing is None or standing.fingerprint != shape:
            standing = Standing(device=device.id, bundle=spec.bundle, fingerprint=shape)
        self.draft.put_standing(standing._replace(returned=standing.returned + 1))
        if standing.returned < self.rules.probation_tasks:
            return True
        return audit_coin(self.rules.audit_key, attempt.job, attempt.index, attempt.number, rate=job.audit_rate)


def observed(device: Device, kind: OutcomeKind, *, now: float) -> Device:
    """The device after one outcome: it moves correctness or availability, never both."""
    if kind is OutcomeKind.MISMATCH or kind is OutcomeKind.CHECKSUM or kind is OutcomeKind.SUCCESS:
        return replace(device, correctness=observe(device.correctness, kind, now=now))
    return replace(device, availability=observe(device.availability, kind, now=now))


def quarantine(draft: Draft, device: Device, reason: str) -> None:
    """Take a device out of the grid, for good; its leases end now."""
    draft.put_device(replace(device, state=DeviceState.QUARANTINED, reason=reason))
    for lease in draft.leases_of(device.id):
        draft.put_lease(lease._replace(until=draft.now))
    draft.note("device.quarantined", device.id, "scheduler", reason)


def fingerprint(facts: Facts) -> Digest:
    """What must not change without a new probation: GPUs, drivers, agent and Python."""
    shape = (
        facts.architecture,
        facts.python,
        facts.agent_version,
        [(gpu.uuid, gpu.name, gpu.driver) for gpu in facts.gpus],
    )
    return Digest(blake2b(repr(shape).encode(), digest_size=32).digest())
