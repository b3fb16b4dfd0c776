"""Results that need no judging one by one, which are most: of a task's only copy, with nothing to compare them with.

What they mean for their task is asked once for all that a batch brings (``verification.unchecked``).  Everything else
that comes back goes through ``domain.intake`` item by item.
"""

from __future__ import annotations

from corpgrid.domain.attempt import Attempt, AttemptState
from corpgrid.domain.audits import Audits
from corpgrid.domain.draft import Draft
from corpgrid.domain.ids import DeviceId, TaskKey
from corpgrid.domain.job import Job, Task, TaskState
from corpgrid.domain.leases import accepts
from corpgrid.domain.messages import Batch, Item, Outcome
from corpgrid.domain.verification import Circumstances, Verdict, unchecked

# Named here, once: to look up a member of an enumeration takes longer than what is done with it for each result.
_RESULT, _ACCEPTED, _LEASED = Outcome.RESULT, AttemptState.ACCEPTED, TaskState.LEASED


class PlainResults:
    """The plain results of a batch, which gets the draft's next number."""

    def __init__(self, draft: Draft, audits: Audits, job: Job, batch: Batch, verdict: Verdict) -> None:
        self._draft = draft
        self._audits = audits
        self._job = job
        self._bundle = draft.spec(job.id).bundle
        self._digests = batch.digests
        self._number = draft.next_batch
        self._final = verdict.final
        self._state = TaskState.FINAL if verdict.final else TaskState.PROVISIONAL
        self._final_rev = draft.next_rev(job.id) if verdict.final else 0
        self._new: dict[TaskKey, Task] = {}
        self._move: tuple[Task, Task] | None = None

    @classmethod
    def of(
        cls, draft: Draft, audits: Audits, device: DeviceId, batch: Batch, given: Circumstances
    ) -> PlainResults | None:
        """Those of a batch that this device brings of a running job; None: it has none."""
        only = (draft.only_attempt((batch.job, item.index)) for item in batch.items)
        sample = next((attempt for attempt in only if attempt is not None and attempt.device == device), None)
        verdict = unchecked(draft.spec(batch.job).verify, sample, given) if sample is not None else None
        job = draft.job(batch.job)
        return cls(draft, audits, job, batch, verdict) if job is not None and verdict is not None else None

    def take(self, device: DeviceId, item: Item, position: int) -> bool:
        """Take a result if it is plain; False: it is not, and nothing was done."""
        draft, job, index, number = self._draft, self._job.id, item.index, item.attempt
        attempt, task = draft.only_attempt((job, index)), draft.task((job, index))
        if attempt is None or task is None or number != attempt.number or item.outcome is not _RESULT:
            return False
        if not accepts(attempt, device=device, epoch=item.epoch) or device in draft.quarantined:
            return False
        if task.state is not _LEASED or task.open or task.live != 1 or not self._stands(attempt):
            return False
        end = (self._number, position, self._digests[position], item.reason, item.seconds)
        draft.put_only_attempt((job, index), Attempt(*attempt[:8], _ACCEPTED, *end))
        # Positional: this is made for every result, and keywords cost twice as much.
        purpose, attempts, failures, rev = task.purpose, task.attempts, task.failures, self._final_rev
        new = Task(job, index, self._state, purpose, 0, 0, attempts, failures, number, "", 0.0, rev)
        self._new[job, index] = new
        self._move = (task, new)
        return True

    def _stands(self, attempt: Attempt) -> bool:
        return self._final or self._audits.spares(attempt, self._bundle, self._job.audit_rate)

    def close(self) -> int:
        """Write what became of the tasks; how many they are."""
        if self._move is not None:
            self._draft.put_moved(*self._move, self._new)
        return len(self._new)
