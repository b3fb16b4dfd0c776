"""What comes back: each ended attempt changes its task as ``verification.judge`` says, and its device's reputation.

* A result counts only if its attempt is still live under the device and epoch that bring it (the fencing token).
* A device that is found wrong is quarantined at once; its results in the same batch are not taken, and do it no credit;
  what it committed before and nobody checked is run again (``admin.sweep``).
* Only verified outcomes move correctness; lost leases and dead runners move availability.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from corpgrid.domain.attempt import LIVE, Attempt, AttemptState
from corpgrid.domain.audits import Audits
from corpgrid.domain.device import Device, DeviceState
from corpgrid.domain.draft import Draft
from corpgrid.domain.effects import StoredBatch
from corpgrid.domain.grounds import Grounds
from corpgrid.domain.ids import DeviceId, Epoch, JobId, TaskKey, task_text
from corpgrid.domain.job import ComparatorKind, JobState, Purpose, Task, TaskState, VerifyMode
from corpgrid.domain.leases import accepts, retry_delay_seconds
from corpgrid.domain.messages import Batch, Item, Outcome
from corpgrid.domain.plain_results import PlainResults
from corpgrid.domain.reputation import OutcomeKind, Tier, observe, tier
from corpgrid.domain.rows import changed
from corpgrid.domain.rules import GridRules
from corpgrid.domain.verification import Circumstances, Verdict, judge

_OUT = frozenset({DeviceState.QUARANTINED, DeviceState.REVOKED})
_WITHOUT_COPY = frozenset({AttemptState.EXPIRED, AttemptState.CRASHED, AttemptState.STOPPED, AttemptState.REFUSED})
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
        self._audits = Audits(draft, rules)
        self._grounds = Grounds(draft, rules)
        self._circumstances: dict[JobId, Circumstances] = {}
        self._barred: set[DeviceId] = set()
        self._ended: defaultdict[Epoch, int] = defaultdict(int)

    def take(self, device: DeviceId, batch: Batch) -> int:
        """Take one verified batch; how many of its items counted."""
        draft = self.draft
        job, row = draft.job(batch.job), draft.device(device)
        if job is None or job.state is not JobState.RUNNING:
            return 0
        if row is not None and row.state in _OUT:
            self._barred.add(device)
        number = draft.next_batch
        counted, returned = self._take_items(device, batch, number)
        if counted:
            draft.next_batch = number + 1
            draft.batches.append(StoredBatch(number=number, job=batch.job, device=device, content=batch.content))
            draft.tally(batch.job).executions += returned
            self._reward(device, returned)
        self._close_leases()
        self._audits.keep()
        return counted

    def _take_items(self, device: DeviceId, batch: Batch, number: int) -> tuple[int, int]:
        """Take what the batch brings; how many items counted, and how many of them are results that were taken."""
        counted = returned = 0
        barred = device in self._barred
        plain = None if barred else PlainResults.of(self.draft, self._audits, device, batch, self._given(batch.job))
        for position, item in enumerate(batch.items):
            if plain is not None and plain.take(device, item, position):
                self._ended[item.epoch] += 1
            elif self._take_item(device, batch, item, number, position):
                counted += 1
                returned += item.outcome is Outcome.RESULT and not barred
            barred = barred or device in self.draft.quarantined
        taken = plain.close() if plain is not None else 0
        return counted + taken, returned + taken

    def release(self, attempts: Iterable[Attempt], state: AttemptState, reason: str) -> None:
        """End live attempts that brought nothing."""
        for attempt in attempts:
            self._end(attempt._replace(state=state, reason=reason))
        self._close_leases()

    def run_again(self, task: Task) -> None:
        """Want a task's result anew: what it had is not believed any more."""
        attempt = self.draft.attempts((task.job, task.index))[task.accepted]
        self.draft.put_attempt(attempt._replace(state=AttemptState.REJECTED, reason="device quarantined"))
        self._judge((task.job, task.index), task, live=task.live, failures=task.failures)
        self._close_leases()
        self._audits.keep()

    def give_up_dispute(self, task: Task) -> None:
        """Fail a task on which nobody agrees, if nobody is there who could still decide."""
        key = (task.job, task.index)
        copies = [attempt for attempt in self.draft.attempts(key) if attempt.state not in _WITHOUT_COPY]
        asked = {attempt.owner for attempt in copies}
        present = self.draft.view.owners.items()
        if any(there.trusted or owner not in asked for owner, there in present if there.active):
            return
        self._finish(key, task, Verdict(failed="no_agreement"), failures=task.failures)
        self._close_leases()

    def waive_audit(self, task: Task) -> None:
        """Make a trusted device's result final if nobody is there who could audit it."""
        attempt = self.draft.attempts((task.job, task.index))[task.accepted]
        if self._grounds.trusted(attempt.device) and self._grounds.alone(attempt):
            self._judge((task.job, task.index), task, live=task.live, failures=task.failures)
            self._close_leases()

    def _take_item(self, device: DeviceId, batch: Batch, item: Item, number: int, position: int) -> bool:
        attempts = self.draft.attempts((batch.job, item.index))
        if not 0 <= item.attempt < len(attempts):
            return False
        attempt = attempts[item.attempt]
        if not accepts(attempt, device=device, epoch=item.epoch):
            return False
        if device in self._barred or device in self.draft.quarantined:
            self._end(attempt._replace(state=AttemptState.STOPPED, reason="quarantined"))
            return True
        if item.payload and self.draft.spec(batch.job).verify.comparator.kind is not ComparatorKind.BYTES:
            self._grounds.add_payload(number, position, item.payload)
        self._end(
            attempt.ended(
                _ENDS[item.outcome],
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
        self._ended[attempt.epoch] += 1
        old = draft.task(key)
        assert old is not None
        assert old.live > 0, old
        failures = old.failures + (attempt.state is AttemptState.CRASHED or attempt.state is AttemptState.REFUSED)
        self._judge(key, old, live=old.live - 1, failures=failures)

    def _judge(self, key: TaskKey, old: Task, *, live: int, failures: int) -> None:
        """Judge a task of which ``live`` copies are still out, and give it the state that the verdict means."""
        spec = self.draft.spec(old.job)
        attempts = self.draft.attempts(key)
        given = self._given(old.job)
        verdict = judge(spec.verify, spec.limits, attempts, copies_out=old.open + live, given=given)
        self._mark(key, verdict)
        if verdict.final or verdict.failed:
            self._finish(key, old, verdict, failures=failures)
            return
        purpose = old.purpose if verdict.accepted >= 0 else Purpose.PRIMARY
        if verdict.want:
            self._count(key, old, verdict)
            purpose = verdict.purpose
        wanted = old.open + verdict.want
        state, reason, ready_at = self._placed(verdict.accepted, live, failures if failures > old.failures else 0)
        if purpose is Purpose.ARBITER and state is not TaskState.WAITING:
            ready_at = old.ready_at if old.purpose is Purpose.ARBITER else self.draft.now
        accepted = verdict.accepted
        new = Task(old.job, old.index, state, purpose, wanted, live, old.attempts, failures, accepted, reason, ready_at)
        self.draft.put_task(old, new)

    def _finish(self, key: TaskKey, old: Task, verdict: Verdict, *, failures: int) -> None:
        """The task ends; copies still out are not needed any more."""
        state = TaskState.FAILED if verdict.failed else TaskState.FINAL
        accepted = -1 if verdict.failed else verdict.accepted
        reason = verdict.failed
        new = Task(old.job, old.index, state, old.purpose, 0, 0, old.attempts, failures, accepted, reason)
        self.draft.put_task(old, new)
        for attempt in list(self.draft.attempts(key)):
            if attempt.state in LIVE:
                self.draft.put_attempt(attempt._replace(state=AttemptState.STOPPED, reason="not_needed"))
                self._ended[attempt.epoch] += 1

    def _count(self, key: TaskKey, old: Task, verdict: Verdict) -> None:
        if verdict.purpose is Purpose.AUDIT and old.accepted < 0:
            self.draft.tally(old.job).audits += 1
        if verdict.purpose is Purpose.ARBITER and old.purpose is not Purpose.ARBITER:
            self.draft.tally(old.job).mismatches += 1
            self.draft.note("task.disputed", task_text(key), "scheduler")

    def _placed(self, accepted: int, live: int, new_failures: int) -> tuple[TaskState, str, float]:
        """The state that its copies give a task that goes on, what it waits for, and until when."""
        if accepted >= 0:
            return TaskState.PROVISIONAL, "", 0.0
        if live:
            return TaskState.LEASED, "", 0.0
        delay = retry_delay_seconds(new_failures) if new_failures else 0.0
        if delay > 0:
            return TaskState.WAITING, "retry", self.draft.now + delay
        return TaskState.READY, "", 0.0

    def _close_leases(self) -> None:
        """Leases of which attempts ended have so many fewer; one with none left is gone."""
        for epoch, count in self._ended.items():
            lease = self.draft.lease(epoch)
            if lease is not None:
                self.draft.put_lease(lease._replace(remaining=lease.remaining - count))
        self._ended.clear()

    def _mark(self, key: TaskKey, verdict: Verdict) -> None:
        """Write into the attempts what the verdict says of them, and into their devices what that says of these."""
        attempts = self.draft.attempts(key)
        if verdict.accepted >= 0 and not verdict.winners:
            attempt = attempts[verdict.accepted]
            if attempt.state is AttemptState.RETURNED:
                self.draft.put_attempt(attempt.judged(AttemptState.ACCEPTED))
        for number in verdict.winners:
            attempt = attempts[number]
            self.draft.put_attempt(attempt.judged(AttemptState.ACCEPTED))
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

    def _reward(self, device: DeviceId, returned: int) -> None:
        row = self.draft.device(device)
        if row is None or not returned:
            return
        availability = observe(row.availability, OutcomeKind.SUCCESS, now=self.draft.now, count=returned)
        self.draft.put_device(changed(row, completed=row.completed + returned, availability=availability))

    def _observe(self, device: DeviceId, kind: OutcomeKind) -> None:
        row = self.draft.device(device)
        if row is not None:
            self.draft.put_device(observed(row, kind, now=self.draft.now))

    def _given(self, job: JobId) -> Circumstances:
        found = self._circumstances.get(job)
        if found is None:
            found = self._circumstances[job] = self._grounds.of(job, self._audits)
        return found


def observed(device: Device, kind: OutcomeKind, *, now: float) -> Device:
    """The device after one outcome: it moves correctness or availability, never both."""
    if kind is OutcomeKind.MISMATCH or kind is OutcomeKind.CHECKSUM or kind is OutcomeKind.SUCCESS:
        return changed(device, correctness=observe(device.correctness, kind, now=now))
    return changed(device, availability=observe(device.availability, kind, now=now))


def quarantine(draft: Draft, device: Device, reason: str) -> None:
    """Take a device out of the grid, for good; its leases end now."""
    draft.put_device(changed(device, state=DeviceState.QUARANTINED, reason=reason))
    for lease in draft.leases_of(device.id):
        draft.put_lease(lease._replace(until=draft.now))
    draft.note("device.quarantined", device.id, "scheduler", reason)
