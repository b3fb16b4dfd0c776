"""What a store holds, judged by itself: the simulator's invariants for rows that nobody followed as they were written.

A storm on real machines leaves a database, and what people wrote down of what they were told.  ``History`` reads all
rows through the port, as ``Invariants`` would know them had it seen every commit, and asks what can be asked of rows
alone, with the same checks (I1 to I6, V1, V2, V4).  What it finds besides:

* every stored batch holds the signature of its device, and every specification that of its submitter (I4);
* an epoch belongs to one device and one job, and results that were accepted for one task agree (I3, I5);
* each job was entered once and closed once in the audit log (I8);
* every blob that a row names is there and undamaged (I11);
* and, once all faults are over, nothing is left that lives (L1, L3).

    history = await History.of(store, keyring, fail=print)
    history.check()
    history.check_ended()
    await history.check_blobs(store, blobs)

``Promises(history, fail)`` then holds what was acknowledged against it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Self

from corpgrid.domain.attempt import LIVE, Attempt, AttemptState, Lease
from corpgrid.domain.effects import AuditEntry, Effects, Need, NewJob, View
from corpgrid.domain.ids import DeviceId, Digest, Epoch, JobId, digest_text, task_text
from corpgrid.domain.job import TERMINAL, ComparatorKind, Job, JobState, Purpose, TaskState
from corpgrid.domain.messages import Batch
from corpgrid.errors import CorpGridError
from corpgrid.ports.blobs import Blobs
from corpgrid.ports.store import Store
from corpgrid.sim.invariants import Invariants
from corpgrid.trust.jobspec import verify_job
from corpgrid.trust.keys import Keyring, PublicKey
from corpgrid.trust.results import verify_batch
from corpgrid.wire.convert import decode_batch

_MANY_JOBS = 1_000_000
_PAGE_TASKS = 1_000
_PAGE_BATCHES = 64
_PAGE_LINES = 1_000
_ENDINGS = frozenset({"job.closed", "job.cancelled"})


class History(Invariants):
    """All rows of a store at one moment at which nobody writes; made by ``of``.

    Attributes:
        evidence: every stored batch that an attempt names, verified.
        audit: all lines of the audit log, by number.
    """

    def __init__(self, fail: Callable[[str], None]) -> None:
        super().__init__(fail, decode_batch)
        self.evidence: dict[int, Batch | None] = {}
        self.audit: dict[int, AuditEntry] = {}

    @classmethod
    async def of(cls, store: Store, keyring: Keyring, *, fail: Callable[[str], None]) -> Self:
        """Read everything; ``keyring`` has the keys of all submitters."""
        history = cls(fail)
        history.devices = {device.id: device for device in await store.devices()}
        history.leases = await _leases(store, frozenset(history.devices))
        for job in reversed(await store.jobs(limit=_MANY_JOBS)):
            await history._read_job(store, job, keyring)
        await history._read_batches(store)
        await history._read_audit(store)
        return history

    def check(self) -> None:
        """What must hold at any moment."""
        for rows in self.attempts.values():
            for place, attempt in enumerate(rows):
                self._check_attempt(attempt, rows[:place])
            self._check_agreement(rows)
        self._check_epochs()
        self._check_audit()
        every = [attempt for rows in self.attempts.values() for attempt in rows]
        jobs = tuple(known.row for known in self.jobs.values())
        self._balance(Effects(jobs=jobs, attempts=tuple(every), leases=tuple(self.leases.values())))

    def check_ended(self) -> None:
        """What must hold once there are no faults any more, and nobody submits."""
        for job, known in self.jobs.items():
            running = [index for index in range(known.row.tasks) if known.task(index).state not in TERMINAL]
            if running:
                self._fail(f"L1: {len(running)} tasks of job {job} have not ended, first {running[0]}")
            elif known.row.state is JobState.RUNNING:
                self._fail(f"L1: job {job} is running, and all its tasks have ended")
        for lease in self.leases.values():
            self._fail(f"L3: lease {lease.epoch} of {lease.device} is left, for {lease.remaining} attempts")

    async def check_blobs(self, store: Store, blobs: Blobs) -> None:
        """Every blob that a row names can be read, and is what its name says; those in rows of the store as well."""
        items = [item for batch in self.evidence.values() if batch is not None for item in batch.items]
        large = {item.blob for item in items if item.blob}
        files = {file.digest for item in items for file in item.outputs}
        for name in sorted(self.blobs | large | files):
            try:
                if await store.attached(name) is None:
                    await blobs.get(name)
            except CorpGridError as error:
                self._fail(f"I11: a row names the blob {digest_text(name)}: {error}")

    def digest_of(self, job: JobId, index: int) -> Digest | None:
        """Of the accepted result of a task; None without one."""
        known = self.jobs.get(job)
        task = known.task(index) if known is not None else None
        rows = self.attempts.get((job, index), [])
        return rows[task.accepted].digest if task is not None and 0 <= task.accepted < len(rows) else None

    # -- reading

    async def _read_job(self, store: Store, job: Job, keyring: Keyring) -> None:
        envelope = await store.envelope(job.id)
        try:
            verified = verify_job(envelope or b"", keyring=keyring, now=job.created_at)
        except CorpGridError as error:
            self._fail(f"I4: the specification of job {job.id} is not what its submitter signed: {error}")
            return
        if (verified.id, verified.submitter) != (job.id, job.submitter):
            self._fail(f"I4: job {job.id} has the specification of {verified.id} by {verified.submitter}")
            return
        self._new_job(NewJob(job, verified.spec, envelope or b"", copies=1))
        await self._read_tasks(store, job)

    async def _read_tasks(self, store: Store, job: Job) -> None:
        known, after = self.jobs[job.id], -1
        while page := await store.tasks(job.id, after=after, limit=_PAGE_TASKS):
            after = page[-1].index
            for task in page:
                self._keep(known, known.task(task.index), task)
                if task.attempts:
                    await self._read_attempts(store, job.id, task.index)

    async def _read_attempts(self, store: Store, job: JobId, index: int) -> None:
        rows = await store.attempts(job, index)
        self.attempts[job, index] = rows
        self._live.update(row.epoch for row in rows if row.state in LIVE)
        if [row.number for row in rows] != list(range(len(rows))):
            self._fail(f"I5: task {task_text((job, index))} has attempts {[row.number for row in rows]}")

    async def _read_batches(self, store: Store) -> None:
        named = sorted({row.batch for rows in self.attempts.values() for row in rows if row.batch})
        for start in range(0, len(named), _PAGE_BATCHES):
            found = await store.batches(named[start : start + _PAGE_BATCHES])
            self.evidence.update({number: self._verified(number, content) for number, content in found.items()})
        self.batches = set(self.evidence)

    def _verified(self, number: int, content: bytes) -> Batch | None:
        try:
            batch = decode_batch(content)
            return verify_batch(batch, PublicKey.from_raw(self.devices[batch.device].public_key))
        except (CorpGridError, KeyError) as error:
            self._fail(f"I4: batch {number} is not what its device signed: {error}")
            return None

    async def _read_audit(self, store: Store) -> None:
        after = 0
        while page := await store.audit_log(after=after, limit=_PAGE_LINES):
            after = page[-1][0]
            self.audit.update(page)

    # -- judging

    def _check_attempt(self, attempt: Attempt, before: list[Attempt]) -> None:
        where = f"attempt {task_text((attempt.job, attempt.index))}/{attempt.number}"
        self._check_copies(attempt, before, self.jobs[attempt.job], where)
        if attempt.purpose is not Purpose.PRIMARY and not any(row.digest for row in before):
            self._fail(f"V1: {where} checks a result that nobody had committed")
        if attempt.batch:
            self._check_evidence(attempt, self.evidence, where)
        elif attempt.state in {AttemptState.RETURNED, AttemptState.ACCEPTED}:
            self._fail(f"I4: {where} is {attempt.state}, and there is no evidence of it")
        self._changed[attempt.job].add(attempt.index)

    def _check_agreement(self, rows: list[Attempt]) -> None:
        """Results that are bytes agree bit for bit, or not at all."""
        job = self.jobs[rows[0].job]
        accepted = {row.digest for row in rows if row.state is AttemptState.ACCEPTED}
        task = job.task(rows[0].index)
        if task.state is TaskState.FINAL and 0 <= task.accepted < len(rows):
            accepted.add(rows[task.accepted].digest)
        if len(accepted) > 1 and job.spec.verify.comparator.kind is ComparatorKind.BYTES:
            self._fail(f"I3: task {task_text((task.job, task.index))} has {len(accepted)} accepted results")

    def _check_epochs(self) -> None:
        holders: defaultdict[Epoch, set[tuple[DeviceId, JobId]]] = defaultdict(set)
        for rows in self.attempts.values():
            for row in rows:
                holders[row.epoch].add((row.device, row.job))
        for epoch, held in holders.items():
            if len(held) > 1:
                self._fail(f"I5: epoch {epoch} was given out {len(held)} times: {sorted(held)}")

    def _check_audit(self) -> None:
        lines = Counter((entry.subject, entry.kind) for entry in self.audit.values())
        for job, known in self.jobs.items():
            entered, ended = lines[job, "job.submitted"], sum(lines[job, kind] for kind in _ENDINGS)
            due = known.row.state is not JobState.RUNNING
            if (entered, ended) != (1, due):
                self._fail(f"I8: the log has job {job}, which is {known.row.state}, {entered}x entered, {ended}x ended")


async def _leases(store: Store, devices: frozenset[DeviceId]) -> dict[Epoch, Lease]:
    """Every lease there is: a tick that reads them, and changes nothing."""
    seen: list[View] = []

    def look(view: View) -> Effects:
        seen.append(view)
        return Effects()

    await store.transact(Need(devices=devices), look)
    return dict(seen[-1].leases)
