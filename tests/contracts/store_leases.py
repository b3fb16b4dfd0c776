"""What a store promises of attempts, leases, and what time does to them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from corpgrid.domain.attempt import LIVE, AttemptState
from corpgrid.domain.device import DeviceState
from corpgrid.domain.effects import Effects
from corpgrid.domain.ids import Epoch, JobId
from corpgrid.domain.job import JobState, Purpose, TaskState
from corpgrid.errors import StoreError
from corpgrid.ports.store import Store
from tests.contracts.store_rows import (
    START,
    FakeClock,
    attempt,
    bring_back,
    device,
    hand_out,
    key,
    lease,
    named,
    need,
    new_job,
    rev_up,
    task,
    tick,
)


class Leases:
    """Attempts and leases."""

    async def test_an_attempts_row_is_replaced_whole(self, store: Store) -> None:
        on, other = device("dev_a"), device("dev_b", owner="bob")
        await tick(store, effects=Effects(devices=(on, other), new_jobs=(new_job("job_a", 2),)))
        await hand_out(store, "job_a", [1], on)
        (row,) = await store.attempts(JobId("job_a"), 1)
        assert row == attempt("job_a", 1, on=on, epoch=1)
        row = row._replace(
            state=AttemptState.REJECTED,
            purpose=Purpose.AUDIT,
            batch=7,
            position=3,
            digest=named("result"),
            reason="mismatch",
            seconds=0.1 + 0.2,
        )
        second = attempt("job_a", 1, on=other, epoch=2, number=1)
        await tick(store, effects=Effects(attempts=(row,), new_attempts=(second,)))
        assert await store.attempts(JobId("job_a"), 1) == [row, second]
        assert await store.attempts(JobId("job_a"), 0) == []

    async def test_an_attempt_is_made_once(self, store: Store) -> None:
        on = device("dev_a")
        await tick(store, effects=Effects(devices=(on,), new_jobs=(new_job("job_a", 2),)))
        await hand_out(store, "job_a", [0], on)
        with pytest.raises(StoreError):
            await tick(store, effects=Effects(new_attempts=(attempt("job_a", 0, on=on, epoch=2),)))

    async def test_a_needed_task_brings_all_that_it_points_at(self, store: Store) -> None:
        on, other = device("dev_a"), device("dev_b", owner="bob")
        await tick(store, effects=Effects(devices=(on, other), new_jobs=(new_job("job_a", 2),)))
        first = await hand_out(store, "job_a", [0], on)
        await bring_back(store, "job_a", [0], on)
        second = await hand_out(store, "job_a", [0], other)
        view = await tick(store, need(tasks=[key("job_a", 0), key("job_a", 99), key("job_x", 0)]))
        assert set(view.tasks) == {key("job_a", 0)}
        assert [row.number for row in view.attempts[key("job_a", 0)]] == [0, 1]
        assert set(view.devices) == {"dev_a", "dev_b"}
        assert set(view.leases) == {second}
        assert first not in view.leases
        assert set(view.jobs) == {"job_a"}

    @pytest.mark.parametrize("state", list(AttemptState))
    async def test_a_live_attempt_brings_its_lease(self, store: Store, state: AttemptState) -> None:
        on = device("dev_a")
        await tick(store, effects=Effects(devices=(on,), new_jobs=(new_job("job_a", 1),)))
        epoch = await hand_out(store, "job_a", [0], on)
        (row,) = await store.attempts(JobId("job_a"), 0)
        await tick(store, effects=Effects(attempts=(row._replace(state=state),)))
        live = {epoch} if state in LIVE else set()
        assert set((await tick(store, need(tasks=[key("job_a", 0)]))).leases) == live
        assert set((await tick(store, need(release=["dev_a"]))).tasks) == {("job_a", 0) for _ in live}

    async def test_a_needed_device_brings_its_leases(self, store: Store) -> None:
        on, other = device("dev_a"), device("dev_b")
        jobs = (new_job("job_a", 4), new_job("job_b", 4))
        await tick(store, effects=Effects(devices=(on, other), new_jobs=jobs))
        epochs = [await hand_out(store, job, [0, 1], on) for job in ("job_a", "job_b")]
        await hand_out(store, "job_a", [2], other)
        view = await tick(store, need(devices=["dev_a", "dev_x"]))
        assert set(view.leases) == set(epochs)
        assert set(view.devices) == {"dev_a"}
        assert set(view.jobs) == {"job_a", "job_b"}
        assert view.tasks == {}
        assert view.leases[epochs[0]] == lease(epochs[0], on=on, job="job_a", until=START + 20.0, remaining=2)

    async def test_release_brings_all_live_tasks_of_a_device(self, store: Store) -> None:
        on, other = device("dev_a"), device("dev_b")
        await tick(store, effects=Effects(devices=(on, other), new_jobs=(new_job("job_a", 5),)))
        await hand_out(store, "job_a", [0, 1], on)
        await hand_out(store, "job_a", [2], on)
        await hand_out(store, "job_a", [3], other)
        await bring_back(store, "job_a", [2], on)
        view = await tick(store, need(release=["dev_a"]))
        assert set(view.tasks) == {key("job_a", 0), key("job_a", 1)}
        assert set(view.devices) == {"dev_a"}

    async def test_a_lease_with_nothing_remaining_is_gone(self, store: Store) -> None:
        on = device("dev_a")
        await tick(store, effects=Effects(devices=(on,), new_jobs=(new_job("job_a", 5),)))
        epoch = await hand_out(store, "job_a", [0, 1], on)
        row = lease(epoch, on=on, job="job_a", until=START + 99.0, remaining=1)
        await tick(store, effects=Effects(leases=(row,)))
        assert (await tick(store, need(devices=["dev_a"]))).leases == {epoch: row}
        await tick(store, effects=Effects(leases=(row._replace(remaining=0),)))
        assert (await tick(store, need(devices=["dev_a"]))).leases == {}

    async def test_epochs_and_batches_are_never_given_twice(self, store: Store) -> None:
        on = device("dev_a")
        await tick(store, effects=Effects(devices=(on,), new_jobs=(new_job("job_a", 5),)))
        gone = lease(6, on=on, job="job_a", until=0.0, remaining=0)
        await tick(store, effects=Effects(leases=(gone,)))
        view = await tick(store)
        assert (view.next_epoch, view.next_batch) == (7, 1)
        await hand_out(store, "job_a", [0], on)
        await bring_back(store, "job_a", [0], on)
        view = await tick(store)
        assert (view.next_epoch, view.next_batch) == (8, 2)

    async def test_an_outage_extends_every_lease(self, store: Store) -> None:
        on = device("dev_a")
        await tick(store, effects=Effects(devices=(on,), new_jobs=(new_job("job_a", 5),)))
        first, second = [await hand_out(store, "job_a", [index], on) for index in (0, 1)]
        kept = lease(second, on=on, job="job_a", until=START + 40.0, remaining=1)
        await tick(store, effects=Effects(extend_leases_seconds=100.0, leases=(kept,)))
        leases = (await tick(store, need(devices=["dev_a"]))).leases
        assert leases[first].until == START + 120.0
        assert leases[second] == kept, "a lease in the same effects is what it shall be"


class Sweep:
    """What a sweep finds."""

    async def test_leases_that_ran_out(self, store: Store, clock: FakeClock) -> None:
        on, other = device("dev_a"), device("dev_b")
        await tick(store, effects=Effects(devices=(on, other), new_jobs=(new_job("job_a", 9),)))
        late = await hand_out(store, "job_a", [0, 1], on, ttl=20.0)
        early = await hand_out(store, "job_a", [2, 3], other, ttl=10.0)
        await bring_back(store, "job_a", [3], other)
        half = await hand_out(store, "job_a", [4, 5], other, ttl=10.0)
        assert (await tick(store, need(sweep=100))).expired == ()
        clock.time = START + 10.0
        view = await tick(store, need(sweep=100))
        assert view.expired == (half,)
        assert set(view.tasks) == {key("job_a", 4), key("job_a", 5)}
        assert set(view.devices) == {"dev_b"}
        clock.time = START + 20.0
        view = await tick(store, need(sweep=100))
        assert view.expired == (half, late)
        assert set(view.leases) == {half, late}
        assert early not in view.leases
        assert set(view.devices) == {"dev_a", "dev_b"}
        assert view.jobs.keys() == view.specs.keys() == {"job_a"}

    async def test_expired_leases_come_whole_and_within_the_limit(self, store: Store, clock: FakeClock) -> None:
        on = device("dev_a")
        await tick(store, effects=Effects(devices=(on,), new_jobs=(new_job("job_a", 9),)))
        epochs = [await hand_out(store, "job_a", range(i * 3, i * 3 + 3), on, ttl=float(i)) for i in range(3)]
        clock.time = START + 60.0
        assert (await tick(store, need(sweep=3))).expired == (epochs[0],)
        view = await tick(store, need(sweep=4))
        assert view.expired == tuple(epochs[:2])
        assert len(view.tasks) == 6

    async def test_waiting_tasks_that_are_due(self, store: Store, clock: FakeClock) -> None:
        await tick(store, effects=Effects(new_jobs=(new_job("job_a", 5), new_job("job_b", 5))))
        when = {("job_a", 3): 5.0, ("job_b", 0): 1.0, ("job_a", 1): 1.0, ("job_b", 4): 9.0}
        rows = tuple(
            task(job, index, state=TaskState.WAITING, attempts=1, ready_at=START + wait)
            for (job, index), wait in when.items()
        )
        await tick(store, effects=Effects(tasks=rows))
        assert (await tick(store, need(sweep=10))).due == ()
        clock.time = START + 5.0
        expected = (key("job_a", 1), key("job_b", 0), key("job_a", 3))
        view = await tick(store, need(sweep=10))
        assert view.due == expected
        assert set(view.tasks) == set(expected)
        assert (await tick(store, need(sweep=2))).due == expected[:2]

    async def test_provisional_tasks_of_barred_devices(self, store: Store) -> None:
        good, bad = device("dev_a"), device("dev_b")
        await tick(store, effects=Effects(devices=(good, bad), new_jobs=(new_job("job_a", 6),)))
        for on, indexes in ((good, [0, 1]), (bad, [2, 3, 4])):
            await hand_out(store, "job_a", indexes, on)
            await bring_back(store, "job_a", indexes, on)
        assert (await tick(store, need(sweep=10))).tainted == ()
        for state in (DeviceState.QUARANTINED, DeviceState.REVOKED):
            await tick(store, effects=Effects(devices=(replace(bad, state=state),)))
            view = await tick(store, need(sweep=10))
            assert view.tainted == tuple(key("job_a", index) for index in (2, 3, 4))
            assert set(view.attempts) == set(view.tainted)
            assert set(view.devices) == {"dev_b"}
        assert (await tick(store, need(sweep=2))).tainted == (key("job_a", 2), key("job_a", 3))
        await tick(store, effects=Effects(devices=(replace(good, state=DeviceState.REVOKED),)))
        view = await tick(store, need(sweep=10))
        assert [index for _, index in view.tainted] == [0, 1, 2, 3, 4], "by device as they came, then by task"

    async def test_jobs_with_tainted_tasks_are_known_in_every_tick(self, store: Store) -> None:
        bad = device("dev_b")
        await tick(store, effects=Effects(devices=(bad,), new_jobs=(new_job("job_a", 6), new_job("job_b", 6))))
        await hand_out(store, "job_a", [0], bad)
        await bring_back(store, "job_a", [0], bad)
        assert (await tick(store)).tainted_jobs == frozenset()
        await tick(store, effects=Effects(devices=(replace(bad, state=DeviceState.QUARANTINED),)))
        assert (await tick(store)).tainted_jobs == {"job_a"}
        (row,) = await store.tasks(JobId("job_a"), limit=1)
        await tick(store, effects=Effects(tasks=(row._replace(state=TaskState.READY, accepted=-1, open=1),)))
        assert (await tick(store)).tainted_jobs == frozenset()
        await tick(store, effects=Effects(tasks=(row,)))
        await tick(store, effects=Effects(jobs=(await rev_up(store, "job_a", state=JobState.DONE),)))
        assert (await tick(store)).tainted_jobs == frozenset()

    async def test_running_jobs_that_want_nothing_more(self, store: Store) -> None:
        await tick(store, effects=Effects(new_jobs=(new_job("job_a", 1), new_job("job_b", 1), new_job("job_c", 1))))
        settled = await rev_up(store, "job_b", unsettled=0)
        closed = await rev_up(store, "job_c", unsettled=0, state=JobState.DONE)
        await tick(store, effects=Effects(jobs=(settled, closed)))
        assert set((await tick(store, need(sweep=10))).jobs) == {"job_b"}
        assert (await tick(store)).jobs == {}

    async def test_an_epoch_is_an_epoch(self, store: Store) -> None:
        view = await tick(store)
        assert Epoch(view.next_epoch) == 1
