"""The full check, for now and then: what ``Invariants`` follows step by step, counted anew from its rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from corpgrid.domain.attempt import LIVE
from corpgrid.domain.ids import Epoch
from corpgrid.domain.job import Counts
from corpgrid.sim.invariants import Invariants
from corpgrid.sim.known import COLUMN


def recount(rows: Invariants, fail: Callable[[str], None]) -> None:
    """Count everything."""
    live: Counter[Epoch] = Counter()
    for attempts in rows.attempts.values():
        live.update(attempt.epoch for attempt in attempts if attempt.state in LIVE)
    for lease in rows.leases.values():
        if live.pop(lease.epoch, 0) != lease.remaining:
            fail(f"I5: lease {lease.epoch} counts {lease.remaining} live attempts, and has another number")
    for epoch in live:
        fail(f"I5: {live[epoch]} live attempts stand under {epoch}, which is no lease")
    for job, known in rows.jobs.items():
        counts = [0] * len(Counts._fields)
        unsettled = known.row.tasks - len(known.tasks)
        counts[COLUMN[known.first.state]] += unsettled
        for task in known.tasks.values():
            counts[COLUMN[task.state]] += 1
            unsettled += not task.settled
        if tuple(known.row.counts) != tuple(counts) or known.row.unsettled != unsettled:
            fail(f"I2: job {job} counts {known.row.counts}, {known.row.unsettled} unsettled: {counts}, {unsettled}")
