"""Leases by example."""

from __future__ import annotations

from itertools import islice, pairwise

from corpgrid.domain.attempt import LIVE, Attempt, AttemptState, Lease
from corpgrid.domain.ids import DeviceId, Epoch, JobId, OwnerId, SiteId
from corpgrid.domain.job import Purpose
from corpgrid.domain.leases import (
    RETRY_CAP_SECONDS,
    accepts,
    epochs,
    expired,
    extend,
    renew,
    retry_delay_seconds,
    ttl_seconds,
)

LEASE = Lease(Epoch(7), DeviceId("dev_a"), JobId("job_a"), granted_at=100.0, until=120.0, remaining=3)


def test_a_device_may_miss_its_grace_of_heartbeats():
    assert ttl_seconds(5.0, 3) == 20.0
    assert ttl_seconds(5.0, 0) == 5.0


def test_a_lease_runs_out_on_the_second():
    assert not expired(LEASE, 119.9)
    assert expired(LEASE, 120.0)


def test_renewing_sets_the_end_and_never_shortens():
    assert renew(LEASE, now=110.0, ttl_seconds=20.0).until == 130.0
    assert renew(LEASE, now=90.0, ttl_seconds=20.0) == LEASE
    assert extend(LEASE, 30.0).until == 150.0


def test_epochs_rise():
    drawn = list(islice(epochs(5), 4))
    assert drawn == [5, 6, 7, 8]
    assert all(before < after for before, after in pairwise(drawn))


def test_a_result_counts_from_the_holder_alone_and_only_while_the_attempt_lives():
    attempt = Attempt(
        JobId("job_a"), 0, 0, DeviceId("dev_a"), OwnerId("ada"), SiteId("bern"), Purpose.PRIMARY, Epoch(7)
    )
    assert accepts(attempt, device=DeviceId("dev_a"), epoch=Epoch(7))
    assert not accepts(attempt, device=DeviceId("dev_b"), epoch=Epoch(7))
    assert not accepts(attempt, device=DeviceId("dev_a"), epoch=Epoch(6))
    for state in AttemptState:
        moved = attempt._replace(state=state)
        assert accepts(moved, device=DeviceId("dev_a"), epoch=Epoch(7)) == (state in LIVE)


def test_a_task_rests_longer_after_each_failure():
    delays = [retry_delay_seconds(failures) for failures in range(20)]
    assert delays[0] == 0.0
    assert delays == sorted(delays)
    assert 0.0 < delays[1] < delays[2]
    assert retry_delay_seconds(10**9) == delays[-1] == RETRY_CAP_SECONDS
