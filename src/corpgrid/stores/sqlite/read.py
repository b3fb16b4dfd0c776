"""What people and clients read from SQLite, on a connection and thread of their own: a long read delays no tick."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from corpgrid.domain.attempt import Attempt
from corpgrid.domain.device import Device
from corpgrid.domain.effects import AuditEntry, Checkpoint
from corpgrid.domain.ids import DeviceId, Digest, JobId
from corpgrid.domain.job import Job, JobState, Task, TaskState
from corpgrid.ports.store import StoredResult
from corpgrid.stores.pages import attempts_at, ended_after, provisional_after, tasks_after
from corpgrid.stores.rows import LAST_INDEX, device_of, job_of, task_state_number
from corpgrid.stores.runs import digests_of, task_key
from corpgrid.stores.settings import BatchBlobs
from corpgrid.stores.sqlite.database import Database, Row
from corpgrid.stores.sqlite.rows import attempt_row, stored_row, task_row
from corpgrid.trust.jobspec import decode_spec

Page = tuple[list[Digest], int | None]
"""Some digests, and after which row the next ones come; None at the end."""


class Reader:
    """The reading half of the store; what a method gives is of one moment.

    Args:
        database: a connection of its own.
        batch_blobs: digests of the blobs that a stored batch names.
    """

    def __init__(self, database: Database, *, batch_blobs: BatchBlobs) -> None:
        self._database = database
        self._batch_blobs = batch_blobs

    def job(self, job: JobId) -> Job | None:
        """See ``Store.job``; so for the other verbs of the port."""
        rows = self._rows("job", job)
        return job_of(rows[0]) if rows else None

    def jobs(self, states: Sequence[JobState], limit: int) -> list[Job]:
        """``Store.jobs``."""
        return [job_of(row) for row in self._rows("jobs", json.dumps(list(states)), limit)]

    def envelope(self, job: JobId) -> bytes | None:
        """``Store.envelope``."""
        rows = self._rows("envelope", job)
        return bytes(rows[0][0]) if rows else None

    def tasks(self, job: JobId, states: Sequence[TaskState], after: int, limit: int) -> list[Task]:
        """``Store.tasks``."""
        numbers = json.dumps(list(map(task_state_number, states)))
        rows = self._arrays("tasks", *self._range(job, after + 1), numbers, limit)
        return tasks_after(list(map(task_row, rows)), job, after=after, limit=limit)

    def attempts(self, job: JobId, index: int) -> list[Attempt]:
        """``Store.attempts``."""
        key, _ = self._range(job, index)
        return attempts_at(list(map(attempt_row, self._arrays("attempts", key))), job, index)

    def attached(self, digest: Digest) -> bytes | None:
        """``Store.attached``."""
        rows = self._rows("attached", digest)
        return bytes(rows[0][0]) if rows else None

    def ended(self, job: JobId, after: tuple[int, int], limit: int) -> tuple[Job, list[StoredResult]] | None:
        """``Store.ended``."""
        with self._database.moment():
            rows = self._database.rows("job", job)
            if not rows:
                return None
            number, *_ = rows[0]
            results = self._database.arrays("ended", number, *after, limit)
        return job_of(rows[0]), ended_after(list(map(stored_row, results)), job, after=after, limit=limit)

    def provisional(self, job: JobId, after: int, limit: int) -> list[StoredResult]:
        """``Store.provisional``."""
        rows = self._arrays("provisional", *self._range(job, after + 1), limit)
        return provisional_after(list(map(stored_row, rows)), job, after=after, limit=limit)

    def batches(self, numbers: Sequence[int]) -> dict[int, bytes]:
        """``Store.batches``."""
        return dict(self._rows("batches", json.dumps(list(numbers))))

    def device(self, device: DeviceId) -> Device | None:
        """``Store.device``."""
        rows = self._rows("device", device)
        return device_of(rows[0]) if rows else None

    def devices(self) -> list[Device]:
        """``Store.devices``."""
        return list(map(device_of, self._rows("devices")))

    def checkpoints(self, job: JobId, index: int) -> list[Checkpoint]:
        """``Store.checkpoints``."""
        key, _ = self._range(job, index)
        return [Checkpoint(job, index, *row) for row in self._rows("checkpoints", key)]

    def audit_log(self, subject: str, after: int, limit: int) -> list[tuple[int, AuditEntry]]:
        """``Store.audit_log``."""
        if subject:
            rows = self._rows("audit_log_of_subject", after, limit, subject)
        else:
            rows = self._rows("audit_log", after, limit)
        return [(row[0], AuditEntry._make(row[1:])) for row in rows]

    def last_tick(self) -> float:
        """``Store.last_seen``."""
        return float(self._rows("last_tick")[0][0])

    def page(self, statement: str, after: int, ended_before: float) -> list[tuple[int, bool]]:
        """Keys after one, and whether each is of a job that ended before."""
        return [(key, bool(old)) for key, old in self._rows(statement, after, ended_before)]

    # -- every digest that a row of a live job names, page by page

    def spec_digests(self, after: int, ended_after: float) -> Page:
        """Of bundles, page lists and inputs."""
        rows = self._rows("referenced_specs", after, ended_after)
        specs = [decode_spec(content) for _, content in rows if content is not None]
        found = [[spec.bundle, spec.arguments.pages, *spec.inputs.values()] for spec in specs]
        return [digest for digests in found for digest in digests], _last(rows)

    def result_digests(self, after: int, ended_after: float) -> Page:
        """Of results."""
        rows = self._rows("referenced_results", after, ended_after)
        return [digest for row in rows if row[2] for digest in digests_of(row[2], row[1])], _last(rows)

    def checkpoint_digests(self, after: int, ended_after: float) -> Page:
        """Of checkpoints."""
        rows = self._rows("referenced_checkpoints", after, ended_after)
        return [Digest(row[1]) for row in rows if row[1]], _last(rows)

    def batch_digests(self, after: int, ended_after: float) -> Page:
        """Of what stored batches name."""
        rows = self._rows("referenced_batches", after, ended_after)
        contents = (content for _, content in rows if content is not None)
        return [digest for content in contents for digest in self._batch_blobs(content)], _last(rows)

    def _rows(self, name: str, *values: object) -> list[Row]:
        with self._database.translated():
            return self._database.rows(name, *values)

    def _arrays(self, name: str, *values: object) -> list[list[Any]]:
        with self._database.translated():
            return self._database.arrays(name, *values)

    def _number(self, job: JobId) -> int:
        rows = self._rows("job_number", job)
        return int(rows[0][0]) if rows else -1

    def _range(self, job: JobId, index: int) -> tuple[int, int]:
        """The key of one index of a job, and the last that the job could have; nothing has those of no job."""
        number = self._number(job)
        return task_key(number, 0) + index, task_key(number, LAST_INDEX)


def _last(rows: Sequence[Row]) -> int | None:
    return rows[-1][0] if rows else None
