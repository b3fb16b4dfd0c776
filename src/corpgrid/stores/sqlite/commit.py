"""From effects to rows: what a tick writes, inside its transaction.

Each long list of the effects is one statement over arrays; tasks and attempts are written by the run (``changes``).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import chain

from corpgrid.domain.device import Device
from corpgrid.domain.effects import Effects, NewJob, View
from corpgrid.domain.ids import DeviceId, JobId
from corpgrid.domain.job import Job
from corpgrid.errors import StoreError
from corpgrid.stores.changes import Changes, Wanted, Written
from corpgrid.stores.presence import changes_owners
from corpgrid.stores.rows import INDEX_BITS, LAST_INDEX, LAST_NUMBER, NUMBER_BITS, device_values, gpu_values, job_values
from corpgrid.stores.runs import TaskRun, task_key
from corpgrid.stores.sqlite.database import Database
from corpgrid.stores.sqlite.load import Held
from corpgrid.stores.sqlite.remembered import Counters, Known
from corpgrid.stores.sqlite.rows import attempt_run_of, task_run_of, values_of
from corpgrid.trust.jobspec import encode_spec


def commit(database: Database, known: Known, held: Held, effects: Effects, view: View) -> None:
    """Write the effects of a view.

    Raises:
        StoreError: a row names a job or device that is not in the store, or is new and in it already.
    """
    _Commit(database, known, held, effects, view).write()


class _Commit:
    """One tick's writes."""

    def __init__(self, database: Database, known: Known, held: Held, effects: Effects, view: View) -> None:
        self._database = database
        self._known = known
        self._held = held
        self._fresh: list[TaskRun] = []
        self._effects = effects
        self._view = view

    def write(self) -> None:
        effects = self._effects
        self._add_jobs(effects.new_jobs)
        self._put_devices(effects.devices)
        self._resolve()
        self._put_jobs(effects.jobs)
        self._put_runs()
        self._put_leases()
        self._put_evidence()
        self._cancel_jobs()
        self._finish()

    # -- names first: every other row points at them

    def _add_jobs(self, new_jobs: Sequence[NewJob]) -> None:
        for new in new_jobs:
            number = self._database.add("add_job", (new.job.id, *job_values(new.job), new.spec.bundle))
            self._known.jobs.learn(new.job.id, number)
            self._database.put("add_specs", (number, new.payload or encode_spec(new.spec), new.envelope))
            blobs = ((number, digest, content) for digest, content in dict(new.attachments).items())
            self._database.put("add_job_blobs", list(chain.from_iterable(blobs)))
            assert new.job.tasks <= LAST_INDEX, new.job
            if new.job.tasks:
                first = task_key(number, 0)
                self._fresh.append(TaskRun(first, first + new.job.tasks - 1, open=new.copies))

    def _put_devices(self, devices: Sequence[Device]) -> None:
        if not devices:
            return
        self._database.put("put_devices", list(chain.from_iterable(map(device_values, devices))))
        old = self._view.devices
        if changes_owners(old, devices):
            self._known.forget_owners()
        self._put_gpus([device for device in devices if _gpus_changed(old.get(device.id), device)])

    def _put_gpus(self, devices: Sequence[Device]) -> None:
        if not devices:
            return
        self._known.devices.require(device.id for device in devices)
        latest = {self._known.devices.number[device.id]: device for device in devices}
        self._database.run("drop_gpus", json.dumps(list(latest)))
        gpus = (gpu_values(number, device.facts.gpus) for number, device in latest.items())
        self._database.put("add_gpus", list(chain.from_iterable(gpus)))

    def _resolve(self) -> None:
        """Learn the number of every job and device that a row names."""
        effects = self._effects
        jobs: set[JobId] = {*effects.finalised, *effects.cancelled, *(job.id for job in effects.jobs)}
        jobs.update(row[0] for rows in (effects.tasks, effects.new_attempts, effects.attempts) for row in rows)
        jobs.update(lease.job for lease in effects.leases if lease.remaining > 0)
        jobs.update(batch.job for batch in effects.batches)
        jobs.update(checkpoint.job for checkpoint in effects.checkpoints)
        devices: set[DeviceId] = {row.device for rows in (effects.new_attempts, effects.attempts) for row in rows}
        devices.update(lease.device for lease in effects.leases if lease.remaining > 0)
        devices.update(standing.device for standing in effects.standings)
        devices.update(batch.device for batch in effects.batches)
        self._known.jobs.require(jobs)
        self._known.devices.require(devices)

    # -- what points at them

    def _put_jobs(self, jobs: Sequence[Job]) -> None:
        number = self._known.jobs.number
        for job in jobs:
            self._database.run("put_job", number[job.id], *job_values(job))

    def _put_runs(self) -> None:
        final = {self._known.jobs.number[job]: self._revs()[job] for job in self._effects.finalised}
        changes = Changes(
            self._effects, tasks=self._held.tasks, attempts=self._held.attempts, jobs=self._known.jobs.number,
            devices=self._known.devices.number, fresh=self._fresh, final=final,
        )  # fmt: skip
        written, put, drop = self._written(changes), self._database.put, self._database.run_for
        if self._database.rows_for("taken_attempts", written.new):
            raise StoreError("an attempt that is new is in the store already")
        drop("drop_attempts", written.attempts.drop)
        put("put_attempts", values_of(chain(written.attempts.put, written.attempts.add)))
        for job, rev in final.items():
            self._database.run("finalise", task_key(job, 0), task_key(job, LAST_INDEX), rev)
        drop("drop_tasks", written.tasks.drop)
        put("put_tasks", values_of(chain(written.tasks.put, written.tasks.add)))

    def _written(self, changes: Changes) -> Written:
        """What changes, with the runs that are asked for on the way."""
        rows, found = changes.rows(), None
        while True:
            try:
                wanted: Wanted = next(rows) if found is None else rows.send(found)
            except StopIteration as end:
                written: Written = end.value
                return written
            tasks = self._database.arrays_for("tasks_in", wanted.tasks)
            attempts = self._database.arrays_for("attempts_in", wanted.attempts)
            found = list(map(task_run_of, tasks)), list(map(attempt_run_of, attempts))

    def _put_leases(self) -> None:
        if self._effects.extend_leases_seconds:
            self._database.run("extend_leases", self._effects.extend_leases_seconds)
        jobs, devices = self._known.jobs.number, self._known.devices.number
        put, gone = self._known.keep_leases(self._effects)
        values = (
            (lease.epoch, devices[lease.device], jobs[lease.job], lease.granted_at, lease.until, lease.remaining)
            for lease in put
        )
        self._database.put("put_leases", list(chain.from_iterable(values)))
        for epoch in gone:
            self._database.run("drop_lease", epoch)

    def _put_evidence(self) -> None:
        effects, jobs, devices = self._effects, self._known.jobs.number, self._known.devices.number
        standings = ((devices[row[0]], *row[1:]) for row in effects.standings)
        self._database.put("put_standings", list(chain.from_iterable(standings)))
        batches = ((batch.number, jobs[batch.job], devices[batch.device], batch.content) for batch in effects.batches)
        self._database.put("add_batches", list(chain.from_iterable(batches)))
        checkpoints = ((jobs[row.job] << INDEX_BITS | row.index, *row[2:]) for row in effects.checkpoints)
        self._database.put("add_checkpoints", list(chain.from_iterable(checkpoints)))
        self._database.put("add_audit", list(chain.from_iterable(effects.audit)))

    def _cancel_jobs(self) -> None:
        for job in self._effects.cancelled:
            number = self._known.jobs.number[job]
            first, last = task_key(number, 0), task_key(number, LAST_INDEX)
            self._database.run("cancel_tasks", first, last, self._revs()[job])
            self._database.run("stop_attempts", first << NUMBER_BITS, last << NUMBER_BITS | LAST_NUMBER)

    def _revs(self) -> dict[JobId, int]:
        return {job.id: job.rev for job in (*self._view.jobs.values(), *self._effects.jobs)}

    def _finish(self) -> None:
        effects, view = self._effects, self._view
        counters = Counters(
            next_epoch=max(view.next_epoch, *(lease.epoch + 1 for lease in effects.leases), 0),
            next_batch=max(view.next_batch, *(batch.number + 1 for batch in effects.batches), 0),
            last_tick=view.now,
        )
        self._database.run("put_grid", *counters)
        self._known.keep(effects, counters)


def _gpus_changed(old: Device | None, new: Device) -> bool:
    return old is None or old.facts.gpus != new.facts.gpus
