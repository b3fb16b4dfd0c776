"""Every blob that a job needs, those included that only other blobs name; and which blobs are needed at all.

A job's specification names its bundle, its page list and its inputs; the page list names the pages of arguments, and
the bundle's manifest the wheels of its environment.  A job is admitted only if all of them are stored, and while it
runs none of them may be collected.  What was found to be stored counts as put at that moment (``Blobs.missing``), so
that no collection under way takes it from a job that is being admitted; and because a collection leaves alone what was
put lately, the blobs of job after job with the same code are not looked for each time.

When a job has ended, what it brought is needed for as long as it is kept; then its blobs are as if nothing named them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Container, Iterable, Mapping
from typing import NamedTuple

from corpgrid.domain.ids import Digest, KeyId, digest_text
from corpgrid.domain.job import JobSpec, JobState
from corpgrid.errors import ConflictError
from corpgrid.ports.blobs import Blobs
from corpgrid.ports.store import Store
from corpgrid.scheduler.admission import too_much
from corpgrid.scheduler.recent import Recent
from corpgrid.trust.bundle import verify_bundle
from corpgrid.trust.envelope import read_envelope
from corpgrid.trust.jobspec import check_page_list, decode_spec
from corpgrid.trust.keys import Keyring

Keys = Callable[[], Keyring]

_MANY_JOBS = 1_000_000
_BUNDLES_KEPT = 10_000
_FOUND_KEPT = 100_000
_FRESH_SECONDS = 30.0
_THREAD_BYTES = 256 << 10
"""Above this, verifying a bundle is worth a hop to a thread."""


class _Bundle(NamedTuple):
    """What is kept of a bundle that was verified."""

    signer: KeyId
    wheels: tuple[Digest, ...]


class Footprints:
    """What jobs need.

    Args:
        blobs: where bytes stand.
        keys: the submitters that are trusted now.
        grace_seconds: for how long a collection leaves alone what was put.
        bundle_bytes: the largest bundle.
    """

    def __init__(self, blobs: Blobs, keys: Keys, *, grace_seconds: float, bundle_bytes: int) -> None:
        self._blobs = blobs
        self._keys = keys
        self._bundle_bytes = bundle_bytes
        self._fresh_seconds = min(_FRESH_SECONDS, grace_seconds / 4)
        self._found_at: dict[Digest, float] = {}
        self._bundles: Recent[Digest, _Bundle] = Recent(_BUNDLES_KEPT)

    async def require(self, spec: JobSpec, attached: Mapping[Digest, bytes]) -> None:
        """Check that every blob of a job is stored, and that its bundle can be believed.

        Args:
            spec: of the job.
            attached: blobs that need not be stored, because they go into the job's rows.

        Raises:
            ConflictError: a blob is not stored.
            TrustError: the bundle's signature, or the page list, does not hold.
            BundleError: the bundle is none.
            LimitError: it is too large.
        """
        named = [spec.bundle, spec.arguments.pages, *spec.inputs.values()]
        await self._require_stored(named, attached, "that its specification names")
        beyond = await self._beyond(spec, attached.get(spec.arguments.pages))
        await self._require_stored(beyond, attached, "that its page list and its environment name")

    async def beyond(self, spec: JobSpec) -> list[Digest]:
        """The blobs that only other blobs of a stored job name.

        Raises:
            NotFoundError: a blob of the job is not stored.
            TrustError: the bundle's signature, or the page list, does not hold.
        """
        return await self._beyond(spec, None)

    async def _beyond(self, spec: JobSpec, page_list: bytes | None) -> list[Digest]:
        if page_list is None:
            page_list = await self._blobs.get(spec.arguments.pages)
        pages = check_page_list(spec.arguments, page_list)
        return [*pages, *(await self._bundle(spec.bundle)).wheels]

    async def live(self, store: Store, *, ended_after: float = 0.0) -> AsyncIterator[Digest]:
        """Every blob that must not be collected; one may come more than once.

        Args:
            store: where jobs are.
            ended_after: what jobs brought that ended before is not kept.

        Raises:
            CorpGridError: a running job's blobs cannot be read, so that it is not known what it needs.
        """
        async for digest in await store.referenced(ended_after=ended_after):
            yield digest
        for job in await store.jobs(states=[JobState.RUNNING], limit=_MANY_JOBS):
            envelope = await store.envelope(job.id)
            for digest in await self.beyond(read_spec(envelope)) if envelope is not None else ():
                yield digest

    async def _bundle(self, name: Digest) -> _Bundle:
        keyring, known = self._keys(), self._bundles.get(name)
        if known is not None and known.signer in keyring:
            return known
        size = await self._blobs.size(name) or 0
        if size > self._bundle_bytes:
            raise too_much("bundle_bytes", "the bundle", size, self._bundle_bytes, "Make data an input of the job")
        content = await self._blobs.get(name)
        if len(content) > _THREAD_BYTES:
            verified = await asyncio.to_thread(verify_bundle, content, expected=name, keyring=keyring)
        else:
            verified = verify_bundle(content, expected=name, keyring=keyring)
        bundle = _Bundle(verified.signer, tuple(wheel.digest for wheel in verified.manifest.environment))
        self._bundles.put(name, bundle, size_bytes=1)
        return bundle

    async def _require_stored(self, digests: Iterable[Digest], attached: Container[Digest], what: str) -> None:
        now = asyncio.get_running_loop().time()
        fresh_after = now - self._fresh_seconds
        wanted = [
            digest for digest in digests if digest not in attached and self._found_at.get(digest, 0.0) <= fresh_after
        ]
        missing = await self._blobs.missing(wanted) if wanted else []
        self._note_found(set(wanted).difference(missing), now)
        if missing:
            raise ConflictError(
                f"{len(missing)} of the job's blobs {what} are not stored, first {digest_text(missing[0])}",
                remedy="Store the blobs, then submit the same job again.",
            )

    def _note_found(self, digests: Iterable[Digest], now: float) -> None:
        if len(self._found_at) > _FOUND_KEPT:
            self._found_at.clear()
        self._found_at.update(dict.fromkeys(digests, now))


def read_spec(envelope: bytes) -> JobSpec:
    """The specification in an envelope of the store; it was verified when it came."""
    return decode_spec(read_envelope(envelope).payload)
