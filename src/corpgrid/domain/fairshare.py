"""Fair shares: over devices, so that none is worn out while another rests; over tenants, so that none waits for ever.

* A device is the better a choice the less of it is in use.
* Jobs go by priority; among equals by the tenant who uses least of the grid now; then the oldest first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from corpgrid.domain.job import Job


def inverse_utilisation(held: int, slots: int) -> float:
    """The idle share of a device that holds ``held`` tasks where ``slots`` fill it: 1 is idle, 0 is full or more."""
    return 1.0 - held / slots if held < slots else 0.0


def usage_by_tenant(jobs: Iterable[Job]) -> Counter[str]:
    """How many tasks of each tenant are out on devices."""
    usage: Counter[str] = Counter()
    for job in jobs:
        usage[job.tenant] += job.counts.leased
    return usage


def in_order(jobs: Iterable[Job], usage: Mapping[str, float]) -> list[Job]:
    """The jobs in the order in which they may take devices.  A tenant without an entry in ``usage`` uses nothing."""
    return sorted(jobs, key=lambda job: (-job.priority, usage.get(job.tenant, 0.0), job.created_at, job.id))
