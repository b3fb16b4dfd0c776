"""What somebody was told must be so: acknowledged submits, results and leases, held against what was committed.

``Invariants`` follows the commits; this compares what came out of the grid with them, message by message, and at the
end with what the store still has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from corpgrid.domain.attempt import LIVE, Attempt
from corpgrid.domain.device import DeviceState
from corpgrid.domain.ids import DeviceId, Digest, Epoch, JobId
from corpgrid.domain.job import JobState
from corpgrid.domain.messages import Batch
from corpgrid.ports.store import Store
from corpgrid.sim.invariants import Invariants

_OUT = frozenset({DeviceState.QUARANTINED, DeviceState.REVOKED})


class Promises:
    """What was told, against what was committed.

    Args:
        rows: what was committed.
        fail: told of each violation.
    """

    def __init__(self, rows: Invariants, fail: Callable[[str], None]) -> None:
        self._rows = rows
        self._fail = fail
        self._submitted: set[JobId] = set()

    def acknowledged_submit(self, job: JobId) -> None:
        """A submitter was told that the grid has this job."""
        self._submitted.add(job)
        if job not in self._rows.jobs:
            self._fail(f"I1: job {job} was acknowledged, and no commit has it")

    def acknowledged_results(self, device: DeviceId, batch: Batch, received: int) -> None:
        """A device was told that so many items of its batch counted."""
        found = [self._row(batch.job, item.index, item.attempt) for item in batch.items]
        durable = sum(
            attempt is not None
            and attempt.device == device
            and attempt.state not in LIVE
            and attempt.batch in self._rows.batches
            for attempt in found
        )
        known = self._rows.jobs.get(batch.job)
        ended = known is not None and known.row.state is not JobState.RUNNING
        row = self._rows.devices.get(device)
        barred = row is not None and row.state in _OUT
        if received > durable and not ended and not barred:
            self._fail(f"I4: {device} was told that {received} results are kept, and {durable} are")

    def acknowledged_renewal(self, device: DeviceId, epochs: Iterable[Epoch], until: float) -> None:
        """A device was told that it still holds these leases, by a commit that renewed them until then at least."""
        row = self._rows.devices.get(device)
        for epoch in epochs if row is not None and row.state not in _OUT else ():
            lease = self._rows.leases.get(epoch)
            if lease is not None and lease.device == device and 0.0 < lease.until < until:
                self._fail(f"I5: {device} was told that it holds lease {epoch}, which was not renewed")

    def lost_submits(self, stored: Iterable[JobId]) -> None:
        """The jobs that are in the store now: every acknowledged one must be among them."""
        for job in sorted(self._submitted - set(stored)):
            self._fail(f"I1: job {job} was acknowledged and is lost")

    def audited(self) -> None:
        """Every job has ended: each that is audited was audited as its rate says, within what chance allows."""
        for known in self._rows.jobs.values():
            row = known.row
            expected = row.audit_rate * row.counts.final
            if row.state is JobState.DONE and row.audits < expected - 6.0 * expected**0.5:
                self._fail(f"V5: job {row.id} had {row.audits} audits where {expected:.0f} were due")

    def collected(self, left: set[Digest]) -> None:
        """Blobs were collected; these are left."""
        gone = self._rows.blobs - left
        if gone:
            self._fail(f"I11: {len(gone)} blobs were collected that rows still name, first {min(gone).hex()[:16]}")

    def _row(self, job: JobId, index: int, number: int) -> Attempt | None:
        rows = self._rows.attempts.get((job, index), [])
        return rows[number] if number < len(rows) else None

    async def compare(self, store: Store) -> None:
        """What was committed is what is stored."""
        rows = self._rows
        self.lost_submits([job.id for job in await store.jobs(limit=1_000_000)])
        for job, known in rows.jobs.items():
            states = [task.state for task in await store.tasks(job, limit=known.row.tasks)]
            if await store.job(job) != known.row or states != [known.task(n).state for n in range(known.row.tasks)]:
                self._fail(f"I4: what was committed of {job} is not what is stored")
        lost = rows.batches - set(await store.batches(sorted(rows.batches)))
        if lost:
            self._fail(f"I4: {len(lost)} acknowledged batches are lost, first {min(lost)}")
        if await store.devices() != sorted(rows.devices.values(), key=lambda device: device.id):
            self._fail("I4: what was committed of devices is not what is stored")
