"""From a package and its items to a submitted job: store what is not stored yet, sign, submit.

* Everything the job names is stored before the job is submitted; what is small rides in the submission itself.
* What this client has stored once it does not offer again.  A grid collects what no job names any more, and says so:
  then everything is offered once more.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from corpgrid.domain import job as rows
from corpgrid.domain.ids import Digest
from corpgrid.errors import ConflictError
from corpgrid.ports.api import GridApi
from corpgrid.ports.host import Clock
from corpgrid.sdk.items import page_tasks
from corpgrid.sdk.packages import file_digest
from corpgrid.sdk.packaging import Package
from corpgrid.sdk.request import Request
from corpgrid.trust.digest import digest
from corpgrid.trust.jobspec import make_pages, sign_job
from corpgrid.trust.keys import PrivateKey

T = TypeVar("T")
_INLINE_BYTES = 1 << 20
_INLINE_BLOBS = 32
_PUTS_AT_ONCE = 8


class Sender:
    """Signs and submits jobs over one connection."""

    def __init__(self, api: GridApi, clock: Clock) -> None:
        self._api = api
        self._clock = clock
        self._stored: set[Digest] = set()

    async def send(self, package: Package, items: Sequence[bytes], request: Request, key: PrivateKey) -> rows.Job:
        """Submit a job; its first row.

        Raises:
            GridError: the grid refused it.
        """
        pages, page_list, arguments = make_pages(items, page_tasks(items))
        inputs = {name: await asyncio.to_thread(file_digest, path) for name, path in request.inputs.items()}
        spec = request.spec(
            bundle=package.digest,
            arguments=arguments,
            inputs=inputs,
            requirements=package.requirements,
            now=self._clock.now(),
            nonce=secrets.token_hex(16),
        )
        envelope = sign_job(spec, key)
        files = {**package.wheels, **{inputs[name]: path for name, path in request.inputs.items()}}
        blobs = {page_list: None, **dict.fromkeys(pages)}
        try:
            return await self._submit(envelope, package, list(blobs), files)
        except ConflictError:
            if not self._stored:
                raise
            self._stored.clear()
            return await self._submit(envelope, package, list(blobs), files)

    async def _submit(
        self, envelope: bytes, package: Package, blobs: Sequence[bytes], files: Mapping[Digest, Path]
    ) -> rows.Job:
        await self._store_files(files)
        known = package.digest in self._stored
        inline = await self._store_large(blobs if known else [package.content, *blobs])
        row = await self._api.submit_job(envelope, blobs=inline)
        self._stored.add(package.digest)
        return row

    async def _store_large(self, blobs: Sequence[bytes]) -> list[bytes]:
        """Store what does not fit in the submission; what does."""
        inline: list[bytes] = []
        large: list[bytes] = []
        room = _INLINE_BYTES
        for blob in blobs:
            if len(blob) <= room and len(inline) < _INLINE_BLOBS:
                inline.append(blob)
                room -= len(blob)
            else:
                large.append(blob)
        unknown = set(await self._api.missing_blobs([digest(blob) for blob in large])) if large else set()
        await _few_at_once(self._api.put_blob, [blob for blob in large if digest(blob) in unknown])
        return inline

    async def _store_files(self, files: Mapping[Digest, Path]) -> None:
        unknown = [mark for mark in files if mark not in self._stored]
        if unknown:
            missing = await self._api.missing_blobs(unknown)
            await _few_at_once(self._api.put_blob_file, [files[mark] for mark in missing])
            self._stored.update(unknown)


async def _few_at_once(put: Callable[[T], Awaitable[Digest]], contents: Sequence[T]) -> None:
    for start in range(0, len(contents), _PUTS_AT_ONCE):
        await asyncio.gather(*map(put, contents[start : start + _PUTS_AT_ONCE]))
