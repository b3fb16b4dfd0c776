"""Signed jobs: what a submitter decides, in one envelope that every device checks for itself; and pages of arguments.

* The payload is the canonical JSON of a ``JobSpec``; the job's id is made from the payload's digest, so that the same
  signed request is the same job wherever it arrives.
* Reading is strict: an unknown field, a wrong type or a number out of range is refused by name; nothing is filled in.
* Arguments are packed in pages (a msgpack array of binary items each).  The page list, the concatenated digests of all
  pages, is a blob whose digest the specification binds.  Item ``i`` is item ``i % page_tasks`` of page
  ``i // page_tasks``.

>>> pages, page_list, arguments = make_pages([b"one", b"two", b"three"], 2)
>>> number, offset = item_place(arguments, 2)
>>> check_page_list(arguments, page_list)[number] == digest(pages[number])
True
>>> page_items(pages[number])[offset]
b'three'
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import msgpack

from corpgrid.domain import ids
from corpgrid.domain.ids import DIGEST_BYTES, Digest, JobId, KeyId
from corpgrid.domain.job import Arguments, JobSpec
from corpgrid.errors import DigestError, ExpiredError, JobFileError, LimitError, MalformedDataError, UsageError
from corpgrid.trust import canonical
from corpgrid.trust.digest import digest, require
from corpgrid.trust.envelope import open_envelope, seal
from corpgrid.trust.fields import Where
from corpgrid.trust.job_fields import JOB, page_count
from corpgrid.trust.keys import Keyring, PrivateKey
from corpgrid.trust.limits import (
    MAX_JOB_BYTES,
    MAX_PAGE_BYTES,
    MAX_PAGE_TASKS,
    MAX_PAGES,
    MAX_TASKS,
)

JOB_TYPE = "application/vnd.corpgrid.job.v1+json"
_ENVELOPE_BYTES = MAX_JOB_BYTES // 3 * 4 + 4_096
"""Base64 of the largest payload, and its signatures."""
_SPLIT = "Submit it as several jobs."


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedJob:
    """A job whose signature held, by a trusted key, before it expired; ``payload`` is the encoded specification."""

    id: JobId
    spec: JobSpec
    submitter: KeyId
    payload: bytes


def encode_spec(spec: JobSpec) -> bytes:
    """The one encoding of a specification.

    Raises:
        JobFileError: a field is of the wrong type or out of range; the message names it and what is accepted.
    """
    payload = canonical.encode(JOB.write(spec, Where(JobFileError)))
    if len(payload) > MAX_JOB_BYTES:
        raise JobFileError(f"the specification has {len(payload):,} bytes where MAX_JOB_BYTES allows {MAX_JOB_BYTES:,}")
    return payload


def decode_spec(payload: bytes) -> JobSpec:
    """Read what ``encode_spec`` wrote.

    Raises:
        JobFileError: the bytes are not a specification; the message names the first field that does not fit.
    """
    try:
        fields = canonical.decode(payload, max_bytes=MAX_JOB_BYTES)
    except MalformedDataError as cause:
        raise JobFileError(f"the specification cannot be read: {cause}") from None
    spec = JOB.read(fields, Where(JobFileError))
    assert isinstance(spec, JobSpec)
    return spec


def job_id(spec: JobSpec) -> JobId:
    """The id that a job of this specification has."""
    return ids.job_id(digest(encode_spec(spec)))


def sign_job(spec: JobSpec, key: PrivateKey) -> bytes:
    """The signed envelope of a job.

    Raises:
        JobFileError: a field does not fit.
    """
    return seal(JOB_TYPE, encode_spec(spec), key)


def verify_job(envelope: bytes, *, keyring: Keyring, now: float) -> VerifiedJob:
    """Check a signed job.

    Raises:
        SignatureError: it is no envelope of a job, or its signature is wrong.
        UntrustedKeyError: its signer is not trusted here.
        JobFileError: what was signed is no job.
        ExpiredError: its time is over.
    """
    payload, submitter = open_envelope(envelope, payload_type=JOB_TYPE, keyring=keyring, max_bytes=_ENVELOPE_BYTES)
    spec = decode_spec(payload)
    if now > spec.not_after:
        raise ExpiredError(f"the job {spec.name!r} expired {now - spec.not_after:,.0f} s ago")
    return VerifiedJob(id=ids.job_id(digest(payload)), spec=spec, submitter=submitter, payload=payload)


def make_pages(items: Iterable[bytes], page_tasks: int) -> tuple[list[bytes], bytes, Arguments]:
    """Pack encoded items in pages; also the page list, and what the specification says of both.

    Raises:
        JobFileError: there are no items, or ``page_tasks`` is out of range.
        LimitError: there are too many items, or one page is too large.
    """
    if not 0 < page_tasks <= MAX_PAGE_TASKS:
        raise JobFileError(f"page_tasks is {page_tasks}; it must be a whole number from 1 to {MAX_PAGE_TASKS:,}")
    pages: list[bytes] = []
    tasks = 0
    for batch in _batches(items, page_tasks):
        tasks += len(batch)
        pages.append(_page(batch, number=len(pages)))
        if tasks > MAX_TASKS:
            raise LimitError("MAX_TASKS", limit=MAX_TASKS, got=tasks, what="the number of tasks", remedy=_SPLIT)
    if not pages:
        raise JobFileError("the job has no tasks", remedy="Give at least one item.")
    if len(pages) > MAX_PAGES:
        raise LimitError(
            "MAX_PAGES", limit=MAX_PAGES, got=len(pages), what="the number of pages", remedy="Use more page_tasks."
        )
    page_list = b"".join(map(digest, pages))
    return pages, page_list, Arguments(tasks=tasks, page_tasks=page_tasks, pages=digest(page_list))


def check_page_list(arguments: Arguments, page_list: bytes) -> tuple[Digest, ...]:
    """The digests of all pages, in order.

    Raises:
        DigestError: this is not the page list that the specification binds.
    """
    require(arguments.pages, page_list, what="the page list")
    if len(page_list) != page_count(arguments) * DIGEST_BYTES:
        raise DigestError(f"the page list has {len(page_list):,} bytes, not those of {page_count(arguments):,} pages")
    return tuple(Digest(page_list[at : at + DIGEST_BYTES]) for at in range(0, len(page_list), DIGEST_BYTES))


def page_items(page: bytes) -> list[bytes]:
    """The encoded items of one page, whose digest was checked.

    Raises:
        MalformedDataError: the bytes are no page.
    """
    if len(page) > MAX_PAGE_BYTES:
        raise MalformedDataError(f"the page has {len(page):,} bytes where MAX_PAGE_BYTES allows {MAX_PAGE_BYTES:,}")
    try:
        items = msgpack.unpackb(page, max_array_len=MAX_PAGE_TASKS, max_bin_len=MAX_PAGE_BYTES, max_map_len=0)
    except (ValueError, msgpack.exceptions.UnpackException) as cause:
        raise MalformedDataError(f"the bytes are no page of arguments: {cause}") from None
    if not isinstance(items, list) or not items or not all(isinstance(item, bytes) for item in items):
        raise MalformedDataError("the bytes are no page of arguments: a page is a list of binary items")
    return items


def item_place(arguments: Arguments, index: int) -> tuple[int, int]:
    """Where item ``index`` stands: the page's number and the place in that page, both from 0.

    Raises:
        UsageError: the job has no such task.
    """
    if not 0 <= index < arguments.tasks:
        raise UsageError(f"task {index} is not one of the job's {arguments.tasks:,} tasks, which count from 0")
    return divmod(index, arguments.page_tasks)


def page_tasks_of(arguments: Arguments, number: int) -> int:
    """How many items page ``number`` has."""
    assert 0 <= number < page_count(arguments)
    return min(arguments.page_tasks, arguments.tasks - number * arguments.page_tasks)


def _batches(items: Iterable[bytes], size: int) -> Iterator[list[bytes]]:
    source = iter(items)
    while batch := list(islice(source, size)):
        yield batch


def _page(items: list[bytes], *, number: int) -> bytes:
    assert all(isinstance(item, bytes) for item in items), "items are encoded before they are packed"
    page: bytes = msgpack.packb(items)
    if len(page) > MAX_PAGE_BYTES:
        raise LimitError(
            "MAX_PAGE_BYTES", limit=MAX_PAGE_BYTES, got=len(page), what=f"page {number}", remedy="Use fewer page_tasks."
        )
    return page
