"""Every blob that a job needs, those included that only other blobs name.

A job's specification names its bundle, its page list and its inputs; the page list names the pages of arguments, and
the bundle's manifest the wheels of its environment.  A job is admitted only if all of them are stored, and while it
runs none of them may be collected.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from corpgrid.domain.ids import Digest, digest_text
from corpgrid.domain.job import JobSpec, JobState
from corpgrid.errors import ConflictError
from corpgrid.ports import Blobs, Store
from corpgrid.trust.bundle import verify_bundle
from corpgrid.trust.envelope import read_envelope
from corpgrid.trust.jobspec import check_page_list, decode_spec
from corpgrid.trust.keys import Keyring

Keys = Callable[[], Keyring]
_MANY_JOBS = 1_000_000


async def require_footprint(spec: JobSpec, blobs: Blobs, keyring: Keyring) -> None:
    """Check that every blob of a job is stored, and that its bundle can be believed.

    Raises:
        ConflictError: a blob is not stored.
        TrustError: the bundle's signature, or the page list, does not hold.
        BundleError: the bundle is none.
    """
    await _require(blobs, [spec.bundle, spec.arguments.pages, *spec.inputs.values()], "that its specification names")
    pages = check_page_list(spec.arguments, await blobs.get(spec.arguments.pages))
    await _require(blobs, list(pages), "of arguments")
    await _require(blobs, await _wheels(spec, blobs, keyring), "of its environment")


async def footprint(spec: JobSpec, blobs: Blobs, keyring: Keyring) -> list[Digest]:
    """The blobs that only other blobs of a stored job name."""
    pages = check_page_list(spec.arguments, await blobs.get(spec.arguments.pages))
    return [*pages, *await _wheels(spec, blobs, keyring)]


async def live_blobs(store: Store, blobs: Blobs, keys: Keys) -> AsyncIterator[Digest]:
    """Every blob that must not be collected; one may come more than once.

    Raises:
        CorpGridError: a running job's blobs cannot be read, so that it is not known what it needs.
    """
    async for digest in await store.referenced():
        yield digest
    for job in await store.jobs(states=[JobState.RUNNING], limit=_MANY_JOBS):
        envelope = await store.envelope(job.id)
        if envelope is not None:
            for digest in await footprint(read_spec(envelope), blobs, keys()):
                yield digest


def read_spec(envelope: bytes) -> JobSpec:
    """The specification in an envelope of the store; it was verified when it came."""
    return decode_spec(read_envelope(envelope).payload)


async def _wheels(spec: JobSpec, blobs: Blobs, keyring: Keyring) -> list[Digest]:
    content = await blobs.get(spec.bundle)
    bundle = await asyncio.to_thread(verify_bundle, content, expected=spec.bundle, keyring=keyring)
    return [wheel.digest for wheel in bundle.manifest.environment]


async def _require(blobs: Blobs, digests: list[Digest], what: str) -> None:
    missing = await blobs.missing(digests)
    if missing:
        raise ConflictError(
            f"{len(missing)} of the job's blobs {what} are not stored, first {digest_text(missing[0])}",
            remedy="Store the blobs, then submit the same job again.",
        )
