"""Fair shares by example."""

from __future__ import annotations

import pytest

from corpgrid.domain.fairshare import in_order, inverse_utilisation, usage_by_tenant
from corpgrid.domain.ids import JobId, KeyId
from corpgrid.domain.job import Counts, Job


def job(name, *, priority=50, tenant="x", age=0.0, leased=0):
    return Job(
        id=JobId(name),
        name=name,
        submitter=KeyId("key"),
        tenant=tenant,
        priority=priority,
        tasks=10,
        created_at=1_000.0 - age,
        counts=Counts(leased=leased),
    )


@pytest.mark.parametrize(("held", "slots", "idle"), [(0, 4, 1.0), (1, 4, 0.75), (4, 4, 0.0), (9, 4, 0.0), (0, 0, 0.0)])
def test_the_idle_share_of_a_device(held, slots, idle):
    assert inverse_utilisation(held, slots) == idle


def test_priority_goes_before_share_and_share_before_age():
    jobs = [
        job("old", age=9.0, tenant="greedy", leased=7),
        job("young", age=1.0, tenant="modest", leased=2),
        job("younger", age=0.5, tenant="modest"),
        job("urgent", priority=60, tenant="greedy"),
    ]
    usage = usage_by_tenant(jobs)
    assert usage == {"greedy": 7, "modest": 2}
    assert [found.id for found in in_order(jobs, usage)] == ["urgent", "young", "younger", "old"]
    assert in_order(jobs, usage) == in_order(jobs[::-1], usage)
