"""From effects to rows: what a tick writes, inside its transaction.

What the tick holds is written; what it saw without holding it is written if it is as it was; what it never saw is
replaced.  All lists that most ticks have are one statement.  Locks that are taken here do not wait: the tick is stale.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any

from corpgrid.domain.device import Device
from corpgrid.domain.effects import Effects, NewJob, View
from corpgrid.domain.ids import DeviceId, JobId
from corpgrid.errors import StaleError, StoreError
from corpgrid.stores.changes import Changes, Found, Wanted, Written
from corpgrid.stores.postgres.database import Columns, Session
from corpgrid.stores.postgres.load import Held
from corpgrid.stores.postgres.rows import attempt_run_of, columns, one_column, task_run_of
from corpgrid.stores.rows import INDEX_BITS, LAST_INDEX, LAST_NUMBER, NUMBER_BITS, device_values, gpu_values, job_values
from corpgrid.stores.runs import TaskRun, task_key
from corpgrid.stores.spans import ends
from corpgrid.trust.jobspec import encode_spec

_MANY_TASKS = 100_000
"""More than a statement's usual time is enough for, if every one of them is a row of its own."""
_JOB: Callable[[Any], JobId] = itemgetter(0)
_DEVICE: Callable[[Any], DeviceId] = itemgetter(3)


async def commit(session: Session, held: Held, effects: Effects, view: View, *, instance: str) -> int:
    """Write the effects of a view; ``instance`` names the store.  The transaction's number.

    Raises:
        StaleError: a row that the tick saw was changed since.
        StoreError: a row names a job or device that is not in the store, or is new and in it already.
    """
    return await _Commit(session, held, effects, view).write(instance)


class _Commit:
    """One tick's writes."""

    def __init__(self, session: Session, held: Held, effects: Effects, view: View) -> None:
        self._session = session
        self._held = held
        self._effects = effects
        self._view = view
        self._jobs = dict(held.jobs)
        self._devices = dict(held.devices)
        self._fresh: list[TaskRun] = []
        self._new: dict[str, Columns] = {}

    async def write(self, instance: str) -> int:
        effects = self._effects
        await self._add_jobs(effects.new_jobs)
        await self._hold_jobs()
        changed = await self._add_devices({device.id: device for device in effects.devices})
        await self._name_devices()
        if effects.extend_leases_seconds:
            await self._extend_leases(effects.extend_leases_seconds)
        if effects.cancelled or any(job.tasks > _MANY_TASKS for job in effects.jobs if job.id in effects.finalised):
            await self._session.take_time()
        final = self._final()
        changes = Changes(
            effects, tasks=self._held.tasks, attempts=self._held.attempts,
            jobs=self._jobs, devices=self._devices, fresh=self._fresh, final=final,
        )  # fmt: skip
        written = await self._written(changes.rows())
        parts: dict[str, Columns] = {
            **self._new,
            **self._rows(changed),
            **_runs(written, final),
            **self._evidence(),
            "put_ticks": [[instance], [self._view.now]],
        }
        transaction = await self._session.write({name: part for name, part in parts.items() if part})
        await self._put_gpus(effects.devices)
        await self._cancel_jobs()
        return transaction

    async def _written(self, rows: Generator[Wanted, Found, Written]) -> Written:
        """What changes, with the runs that are asked for on the way; their jobs are locked already."""
        found: Found | None = None
        while True:
            try:
                wanted = next(rows) if found is None else rows.send(found)
            except StopIteration as end:
                written: Written = end.value
                return written
            found = await self._found(wanted)

    async def _found(self, wanted: Wanted) -> Found:
        rows = self._session.rows
        tasks = await rows("tasks", [], [], 0, *ends(wanted.tasks)) if wanted.tasks else []
        attempts = await rows("attempts", *ends(wanted.attempts)) if wanted.attempts else []
        return [task_run_of(row[1:]) for row in tasks], list(map(attempt_run_of, attempts))

    # -- names first: every other row points at them

    async def _add_jobs(self, new_jobs: Sequence[NewJob]) -> None:
        if not new_jobs:
            return
        known = [new.job.id for new in new_jobs if new.job.id in self._held.jobs]
        if known:
            raise StoreError(f"job {known[0]} is in the store already")
        rows = [(None, new.job.id, *job_values(new.job), new.spec.bundle) for new in new_jobs]
        added: dict[JobId, int] = dict(await self._session.rows("add_jobs", rows))
        self._jobs.update(added)
        self._new = {
            "add_specs": columns(
                (added[new.job.id], new.payload or encode_spec(new.spec), new.envelope) for new in new_jobs
            ),
            "add_job_blobs": columns(
                (added[new.job.id], *blob) for new in new_jobs for blob in dict(new.attachments).items()
            ),
        }
        assert all(new.job.tasks <= LAST_INDEX for new in new_jobs), new_jobs
        firsts = ((task_key(added[new.job.id], 0), new) for new in new_jobs if new.job.tasks)
        self._fresh = [TaskRun(first, first + new.job.tasks - 1, open=new.copies) for first, new in firsts]

    async def _hold_jobs(self) -> None:
        """Lock what is written and was not needed."""
        effects = self._effects
        jobs: set[JobId] = {*effects.finalised, *effects.cancelled, *(job.id for job in effects.jobs)}
        jobs.update(map(_JOB, chain(effects.tasks, effects.new_attempts, effects.attempts)))
        jobs.update(lease.job for lease in effects.leases if lease.remaining > 0)
        jobs.update(batch.job for batch in effects.batches)
        jobs.update(checkpoint.job for checkpoint in effects.checkpoints)
        unknown = sorted(jobs - self._jobs.keys())
        if unknown:
            self._jobs.update(await self._session.rows("hold_jobs", unknown))
            _require("job", unknown, self._jobs)

    async def _add_devices(self, devices: dict[DeviceId, Device]) -> list[Device]:
        """Add those that are new; the others, which may be written now."""
        held = self._held
        unheld = sorted(device for device in devices if device not in held.locked)
        if not unheld:
            return list(devices.values())
        for device, number, version in await self._session.rows("hold_devices", unheld):
            if device in held.absent or held.versions.get(device, version) != version:
                raise StaleError(f"{device} was changed in between", remedy="The tick is tried again.")
            self._devices[device] = number
        new = [tuple(device_values(row)) for device, row in devices.items() if device not in self._devices]
        if new:
            self._devices.update(await self._session.rows("add_devices", new))
        added = {row[0] for row in new}
        return [device for device in devices.values() if device.id not in added]

    async def _name_devices(self) -> None:
        effects = self._effects
        devices: set[DeviceId] = set(map(_DEVICE, chain(effects.new_attempts, effects.attempts)))
        devices.update(lease.device for lease in effects.leases if lease.remaining > 0)
        devices.update(standing.device for standing in effects.standings)
        devices.update(batch.device for batch in effects.batches)
        unknown = sorted(devices - self._devices.keys())
        if unknown:
            self._devices.update(await self._session.rows("device_numbers", unknown))
            _require("device", unknown, self._devices)

    async def _extend_leases(self, seconds: float) -> None:
        """Forgive an outage, once: of schedulers that come back together the first does it for all.

        Raises:
            StaleError: another was first.
        """
        await self._session.run("hold_grid")
        (last_tick,) = await self._session.row("last_tick")
        if last_tick > self._view.last_tick:
            raise StaleError("another scheduler forgave the outage", remedy="The tick is tried again.")
        await self._session.run("extend_leases", seconds)

    # -- what points at them

    def _rows(self, changed: Sequence[Device]) -> dict[str, Columns]:
        """Rows of which the last of two with one key counts."""
        jobs = {row.id: row for row in self._effects.jobs}
        return {
            "put_devices": one_column(tuple(device_values(device)) for device in changed),
            "put_jobs": one_column((self._jobs[id_], id_, *job_values(job), None) for id_, job in jobs.items()),
        }

    def _evidence(self) -> dict[str, Columns]:
        effects, jobs, devices = self._effects, self._jobs, self._devices
        latest = {lease.epoch: lease for lease in effects.leases}.values()
        shapes: dict[Any, Any] = {}
        for row in effects.standings:
            shapes.pop(row[:3], None)
            shapes[row[:3]] = (devices[row.device], *row[1:])
        return {
            "put_leases": columns(
                (row.epoch, devices[row.device], jobs[row.job], *row[3:]) for row in latest if row.remaining > 0
            ),
            "drop_leases": columns([row.epoch] for row in latest if row.remaining <= 0),
            "put_standings": columns(shapes.values()),
            "add_batches": columns(
                (row.number, jobs[row.job], devices[row.device], row.content) for row in effects.batches
            ),
            "add_checkpoints": columns(
                (jobs[row.job] << INDEX_BITS | row.index, *row[2:]) for row in effects.checkpoints
            ),
            "add_audit": columns(effects.audit),
        }

    async def _put_gpus(self, devices: Iterable[Device]) -> None:
        old = self._view.devices
        changed = {row.id: row for row in devices if row.id not in old or old[row.id].facts.gpus != row.facts.gpus}
        if not changed:
            return
        await self._session.run("drop_gpus", [self._devices[device] for device in changed])
        rows = [row for device in changed.values() for row in _gpu_rows(self._devices[device.id], device)]
        if rows:
            await self._session.run("add_gpus", *columns(rows))

    def _final(self) -> dict[int, int]:
        """The numbers of jobs whose provisional tasks become final, and their revs."""
        return {self._jobs[job]: self._revs()[job] for job in self._effects.finalised}

    def _revs(self) -> dict[JobId, int]:
        return {job.id: job.rev for job in (*self._view.jobs.values(), *self._effects.jobs)}

    async def _cancel_jobs(self) -> None:
        for job in self._effects.cancelled:
            number = self._jobs[job]
            first = number << INDEX_BITS
            last = first | LAST_INDEX
            await self._session.run("cancel_tasks", first, last, self._revs()[job])
            await self._session.run("stop_attempts", first << NUMBER_BITS, last << NUMBER_BITS | LAST_NUMBER)
            await self._session.run("drop_leases_of_job", number)


def _runs(written: Written, final: Mapping[int, int]) -> dict[str, Columns]:
    """Parameters of the statements that write runs, by name."""
    new, attempts, tasks = written.new, written.attempts, written.tasks
    replaced = [*(run.last for run in tasks.put), *tasks.drop]
    return {
        "taken_attempts": ends(new) if new else (),
        "put_attempts": one_column(run.values() for run in attempts.put),
        "add_attempts": one_column(run.values() for run in attempts.add),
        "drop_attempts": [attempts.drop] if attempts.drop else (),
        "finalise": [list(final), list(final.values()), replaced] if final else (),
        "put_tasks": one_column(run.values() for run in tasks.put),
        "add_tasks": one_column(run.values() for run in tasks.add),
        "drop_tasks": [tasks.drop] if tasks.drop else (),
    }


def _gpu_rows(number: int, device: Device) -> Iterator[tuple[Any, ...]]:
    values = gpu_values(number, device.facts.gpus)
    return zip(*[values] * 8, strict=True)


def _require(kind: str, wanted: Sequence[str], found: Iterable[str]) -> None:
    gone = sorted(set(wanted) - set(found))
    if gone:
        raise StoreError(f"a row names a {kind} that is not in the store: {', '.join(gone[:3])}")
