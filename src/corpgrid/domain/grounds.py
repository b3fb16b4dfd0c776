"""What verdicts rest on: who agrees with whom, who is trusted, and who is there to check.

It knows the draft, and of who judges nothing: what a tick made must be gone when the tick is, and not wait for Python's
cycle collector.
"""

from __future__ import annotations

from functools import partial

from corpgrid.domain.attempt import Attempt
from corpgrid.domain.audits import Audits
from corpgrid.domain.draft import Draft
from corpgrid.domain.ids import DeviceId, JobId
from corpgrid.domain.job import ComparatorKind, JobSpec
from corpgrid.domain.reputation import Tier, tier
from corpgrid.domain.rules import GridRules
from corpgrid.domain.verification import Circumstances


class Grounds:
    """The grounds of one tick's verdicts."""

    def __init__(self, draft: Draft, rules: GridRules) -> None:
        self._draft = draft
        self._agree = rules.agree
        self._payloads = dict(draft.view.payloads)

    def add_payload(self, batch: int, position: int, payload: bytes) -> None:
        """A result whose content may be compared."""
        self._payloads[batch, position] = payload

    def of(self, job: JobId, audits: Audits) -> Circumstances:
        """What there is to know for the verdicts on a job's tasks."""
        row, spec = self._draft.job(job), self._draft.spec(job)
        assert row is not None
        return Circumstances(
            same=partial(self._same, spec),
            trusted=self.trusted,
            tier=self._tier,
            audit_due=partial(audits.due, bundle=spec.bundle, rate=row.audit_rate),
            alone=self.alone,
        )

    def trusted(self, device: DeviceId) -> bool:
        """Whether the operator trusts a device."""
        row = self._draft.device(device)
        return row is not None and row.trusted

    def alone(self, attempt: Attempt) -> bool:
        """Whether nobody but the owner of this attempt could take a copy."""
        owners = self._draft.view.owners.items()
        return not any(presence.active for owner, presence in owners if owner != attempt.owner)

    def _same(self, spec: JobSpec, one: Attempt, two: Attempt) -> bool:
        if one.digest == two.digest:
            return True
        comparator = spec.verify.comparator
        if comparator.kind is ComparatorKind.BYTES:
            return False
        first = self._payloads.get((one.batch, one.position))
        second = self._payloads.get((two.batch, two.position))
        return first is not None and second is not None and self._agree(comparator, first, second)

    def _tier(self, device: DeviceId) -> Tier:
        row = self._draft.device(device)
        return tier(row.correctness) if row is not None else Tier.UNPROVEN
