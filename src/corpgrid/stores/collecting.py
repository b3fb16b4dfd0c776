"""How a store in SQL throws away what old jobs left: page by page, so that nobody waits for it for long.

* First every job that ended before the time gets its line in the audit log: whoever misses a batch finds there why.
* Then each table is read by pages, old rows and young ones alike, and the old ones are deleted, few at a time and in
  transactions of their own.  A page costs the same whatever it finds.
* Whatever stops this in the middle, the next time goes on with it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from corpgrid.domain.effects import AuditEntry
from corpgrid.domain.ids import JobId
from corpgrid.ports.store import COLLECTED

DETAIL = "its batches, the blobs in its rows and its checkpoints are gone"
"""What the line says."""
_JOBS_AT_ONCE = 1_000

Look = Callable[[str, int], Awaitable[Sequence[tuple[int, bool]]]]
"""Statement and key: the keys after it that make a page, and whether each is to go."""
Mark = Callable[[Sequence[int]], Awaitable[int]]
"""Numbers of jobs: how many of them got their line."""
Drop = Callable[[str, Sequence[int]], Awaitable[None]]
"""Statement and keys."""


class _Table(NamedTuple):
    """What is read by pages, and deleted so many rows at once."""

    look: str
    drop: str
    at_once: int


_TABLES = (
    # A batch may have megabytes.
    _Table("batches_to_drop", "drop_batches", 64),
    _Table("job_blobs_to_drop", "drop_job_blobs", 256),
    _Table("checkpoints_to_drop", "drop_checkpoints", 1_000),
)


async def collect(look: Look, mark: Mark, drop: Drop) -> int:
    """Throw away; how many jobs got their line."""
    marked, after = 0, 0
    while page := await look("jobs_to_mark", after):
        for jobs in _slices(page, _JOBS_AT_ONCE):
            marked += await mark(jobs)
        after = page[-1][0]
    for table in _TABLES:
        await _empty(table, look, drop)
    return marked


async def _empty(table: _Table, look: Look, drop: Drop) -> None:
    after = 0
    while page := await look(table.look, after):
        for keys in _slices(page, table.at_once):
            await drop(table.drop, keys)
        after = page[-1][0]


def _slices(page: Sequence[tuple[int, bool]], size: int) -> Iterator[list[int]]:
    """The keys that are to go, so many at a time."""
    keys = (key for key, old in page if old)
    while part := list(islice(keys, size)):
        yield part


def collected_line(job: JobId, now: float) -> AuditEntry:
    """A job's line in the audit log."""
    return AuditEntry(now, COLLECTED, job, "scheduler", DETAIL)
