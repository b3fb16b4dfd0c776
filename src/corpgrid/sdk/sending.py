"""From a package and its items to a submitted job: store what is not stored yet, sign, submit.

Everything the job names is stored before the job is submitted; small blobs ride in the submission itself.  What this
client has stored once it does not offer again.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from corpgrid.domain import job as rows
from corpgrid.domain.ids import Digest
from corpgrid.domain.job import Isolation, JobSpec, Limits, Requirements, VerifyPolicy
from corpgrid.ports import Clock, GridApi
from corpgrid.sdk.items import page_tasks
from corpgrid.sdk.packaging import Package
from corpgrid.trust.jobspec import make_pages, sign_job
from corpgrid.trust.keys import PrivateKey

_INLINE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a submitter asks for, besides code and items."""

    name: str
    inputs: Mapping[str, Path] = field(default_factory=dict)
    verify: VerifyPolicy = field(default_factory=VerifyPolicy)
    requirements: Requirements = field(default_factory=Requirements)
    limits: Limits = field(default_factory=Limits)
    isolation: Isolation = Isolation.JOB
    priority: int = 50
    tenant: str = "default"
    expires_seconds: float = 7 * 24 * 3600.0


class Sender:
    """Signs and submits jobs over one connection."""

    def __init__(self, api: GridApi, key: PrivateKey, clock: Clock) -> None:
        self._api = api
        self._key = key
        self._clock = clock
        self._stored: set[Digest] = set()

    async def send(self, package: Package, items: list[bytes], request: Request) -> rows.Job:
        """Submit a job; its first row.

        Raises:
            GridError: the grid refused it.
        """
        pages, page_list, arguments = make_pages(items, page_tasks(items))
        inputs = {name: await self._api.put_blob_file(path) for name, path in request.inputs.items()}
        await self._store_wheels(package.wheels)
        spec = JobSpec(
            name=request.name,
            bundle=package.digest,
            arguments=arguments,
            not_after=self._clock.now() + request.expires_seconds,
            nonce=secrets.token_hex(16),
            inputs=inputs,
            requirements=package.bind(request.requirements),
            limits=request.limits,
            verify=request.verify,
            isolation=request.isolation,
            priority=request.priority,
            tenant=request.tenant,
        )
        blobs = [page_list, *pages]
        if package.digest not in self._stored:
            blobs.append(package.content)
        inline = await self._store_large(blobs)
        row = await self._api.submit_job(sign_job(spec, self._key), blobs=inline)
        self._stored.add(package.digest)
        return row

    async def _store_large(self, blobs: Sequence[bytes]) -> list[bytes]:
        """Store what does not fit in the submission; what does."""
        inline: list[bytes] = []
        room = _INLINE_BYTES
        for blob in blobs:
            if len(blob) <= room:
                inline.append(blob)
                room -= len(blob)
            else:
                await self._api.put_blob(blob)
        return inline

    async def _store_wheels(self, wheels: Mapping[Digest, Path]) -> None:
        unknown = [digest for digest in wheels if digest not in self._stored]
        if not unknown:
            return
        for digest in await self._api.missing_blobs(unknown):
            await self._api.put_blob_file(wheels[digest])
        self._stored.update(unknown)
