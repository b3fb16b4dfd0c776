"""The signed specifications of stored jobs, at hand: agents are sent the envelope, explanations read what it says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from corpgrid.domain.effects import NewJob
from corpgrid.domain.ids import JobId
from corpgrid.domain.job import JobSpec
from corpgrid.errors import NotFoundError
from corpgrid.ports.store import Store
from corpgrid.scheduler.footprint import read_spec
from corpgrid.scheduler.recent import Recent

_KEEP_BYTES = 32 << 20


class _Known(NamedTuple):
    envelope: bytes
    spec: JobSpec


class Specs:
    """Specifications by job."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._recent: Recent[JobId, _Known] = Recent(_KEEP_BYTES)

    def note(self, new: NewJob) -> None:
        """A job was committed."""
        self._recent.put(new.job.id, _Known(new.envelope, new.spec), size_bytes=len(new.envelope))

    async def spec(self, job: JobId) -> JobSpec:
        """What the job's submitter decided.

        Raises:
            NotFoundError: no such job.
        """
        return (await self._known(job)).spec

    async def envelopes(self, jobs: Iterable[JobId]) -> Mapping[JobId, bytes]:
        """What the jobs' submitters signed.

        Raises:
            NotFoundError: no such job.
        """
        return {job: (await self._known(job)).envelope for job in dict.fromkeys(jobs)}

    async def _known(self, job: JobId) -> _Known:
        known = self._recent.get(job)
        if known is None:
            envelope = await self._store.envelope(job)
            if envelope is None:
                raise NotFoundError(f"there is no job {job}")
            known = _Known(envelope, read_spec(envelope))
            self._recent.put(job, known, size_bytes=len(envelope))
        return known
