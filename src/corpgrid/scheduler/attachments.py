"""Small blobs that ride with new work, so that the first task of a small job costs its device no question.

What an agent would ask for next is known: the bundle, the list of pages, and the page if there is only one.  Where they
are small they travel with the grant; their digests, which the signed specification binds, are their proof.
"""

from __future__ import annotations

from collections.abc import Iterable

from corpgrid.domain.ids import Digest
from corpgrid.domain.job import JobSpec
from corpgrid.errors import CorpGridError
from corpgrid.ports.blobs import Blobs
from corpgrid.scheduler.recent import Recent
from corpgrid.trust.jobspec import check_page_list

_KEEP_BYTES = 16 << 20
_ATTACHED_BYTES = 64 << 10


class Attachments:
    """Small blobs of jobs that came lately."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._recent: Recent[Digest, bytes] = Recent(_KEEP_BYTES)

    def note(self, blobs: Iterable[tuple[Digest, bytes]]) -> None:
        """These came with a job."""
        for name, content in blobs:
            if len(content) <= _ATTACHED_BYTES:
                self._recent.put(name, content, size_bytes=len(content))

    async def of(self, specs: Iterable[JobSpec]) -> tuple[bytes, ...]:
        """What devices that are new to these jobs will ask for first."""
        found: dict[Digest, bytes] = {}
        for spec in specs:
            for name in (spec.bundle, spec.arguments.pages, await self._only_page(spec)):
                content = await self._small(name) if name else None
                if content is not None and sum(map(len, found.values())) + len(content) <= _ATTACHED_BYTES:
                    found[name] = content
        return tuple(found.values())

    async def _only_page(self, spec: JobSpec) -> Digest:
        if spec.arguments.tasks > spec.arguments.page_tasks:
            return Digest(b"")
        page_list = await self._small(spec.arguments.pages)
        return check_page_list(spec.arguments, page_list)[0] if page_list is not None else Digest(b"")

    async def _small(self, name: Digest) -> bytes | None:
        """A blob's bytes if it is small and whole; an agent that wants any other asks for it itself."""
        content = self._recent.get(name)
        if content is not None:
            return content
        size_bytes = await self._blobs.size(name)
        if size_bytes is None or size_bytes > _ATTACHED_BYTES:
            return None
        try:
            content = await self._blobs.get(name)
        except CorpGridError:
            return None
        self._recent.put(name, content, size_bytes=size_bytes)
        return content
