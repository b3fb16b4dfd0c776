"""Leases under every order of grants, heartbeats, outages, sweeps and late results."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from corpgrid.domain.attempt import LIVE, Attempt, AttemptState, Lease
from corpgrid.domain.ids import DeviceId, Epoch, JobId, OwnerId, SiteId
from corpgrid.domain.job import Purpose
from corpgrid.domain.leases import accepts, epochs, expired, extend, renew, ttl_seconds

JOB, TTL = JobId("job_a"), ttl_seconds(5.0, 3)
devices = st.sampled_from([DeviceId(name) for name in ("dev_a", "dev_b", "dev_c")])
indexes = st.integers(0, 2)


class Grid(RuleBasedStateMachine):
    """A grid of three tasks and three devices that do not know when they lost a lease."""

    def __init__(self):
        super().__init__()
        self.now = 0.0
        self.epochs = epochs(1)
        self.leases: dict[Epoch, Lease] = {}
        self.attempts: dict[int, list[Attempt]] = {0: [], 1: [], 2: []}
        self.counted: dict[tuple[int, int], tuple[DeviceId, Epoch]] = {}
        self.ever: list[Lease] = []
        self.believed: dict[Epoch, float] = {}
        """Until when the holder of a lease may work, by its own count: from when it *sent* its last heartbeat."""

    def live(self, index):
        return [attempt for attempt in self.attempts[index] if attempt.state in LIVE]

    @rule(index=indexes, device=devices)
    def grant(self, index, device):
        """Whoever asks gets the task, unless somebody has it or brought it."""
        if self.live(index) or any(place[0] == index for place in self.counted):
            return
        epoch = next(self.epochs)
        lease = Lease(epoch, device, JOB, self.now, self.now + TTL, remaining=1)
        self.leases[epoch] = lease
        self.ever.append(lease)
        self.believed[epoch] = self.now + TTL
        number = len(self.attempts[index])
        self.attempts[index].append(
            Attempt(JOB, index, number, device, OwnerId("ada"), SiteId("bern"), Purpose.PRIMARY, epoch)
        )

    @precondition(lambda self: self.ever)
    @rule(data=st.data(), delay=st.floats(0, 30))
    def heartbeat(self, data, delay):
        """A heartbeat arrives some time after it was sent, and its lease may be gone by then."""
        epoch = data.draw(st.sampled_from(self.ever)).epoch
        sent, self.now = self.now, self.now + delay
        lease = self.leases.get(epoch)
        if lease is None:
            return
        renewed = renew(lease, now=self.now, ttl_seconds=TTL)
        assert renewed.until >= lease.until
        assert renewed.until >= self.now + TTL
        assert renewed._replace(until=lease.until) == lease
        self.leases[epoch] = renewed
        self.believed[epoch] = max(self.believed[epoch], sent + TTL)

    @rule(seconds=st.floats(0, 30))
    def time_passes(self, seconds):
        self.now += seconds

    @rule(seconds=st.floats(0, 300))
    def the_scheduler_was_away(self, seconds):
        self.now += seconds
        for epoch, lease in self.leases.items():
            self.leases[epoch] = extend(lease, seconds)
            assert self.leases[epoch].until - self.now >= lease.until - (self.now - seconds) - 1e-6

    @rule()
    def sweep(self):
        for epoch, lease in list(self.leases.items()):
            if not expired(lease, self.now):
                continue
            del self.leases[epoch]
            for index, attempts in self.attempts.items():
                self.attempts[index] = [
                    attempt._replace(state=AttemptState.EXPIRED)
                    if attempt.epoch == epoch and attempt.state in LIVE
                    else attempt
                    for attempt in attempts
                ]

    @precondition(lambda self: self.ever)
    @rule(index=indexes, number=st.integers(0, 5), data=st.data(), device=devices)
    def result(self, index, number, data, device):
        """Any device may bring anything under any epoch that there ever was."""
        epoch = data.draw(st.sampled_from(self.ever)).epoch
        if number >= len(self.attempts[index]):
            return
        attempt = self.attempts[index][number]
        counts = accepts(attempt, device=device, epoch=epoch)
        assert not counts or epoch in self.leases, "the lease was swept, and yet its result counted"
        assert not counts or epoch == max(other.epoch for other in self.attempts[index]), "a stale epoch counted"
        if counts:
            self.attempts[index][number] = attempt._replace(state=AttemptState.RETURNED)
            del self.leases[epoch]
            assert (index, number) not in self.counted
            self.counted[(index, number)] = (device, epoch)

    @invariant()
    def never_two_holders(self):
        for index in self.attempts:
            live = self.live(index)
            assert len(live) <= 1
            holders = {
                (lease.device, lease.epoch)
                for lease in self.ever
                for attempt in self.attempts[index]
                if accepts(attempt, device=lease.device, epoch=lease.epoch)
            }
            assert len(holders) == len(live)

    @invariant()
    def no_task_counts_twice(self):
        indexes_counted = [index for index, _ in self.counted]
        assert len(indexes_counted) == len(set(indexes_counted))

    @invariant()
    def no_holder_loses_its_lease_before_it_knows(self):
        """A device that counts from when it sent its last heartbeat never does work that is thrown away."""
        brought = {epoch for _, epoch in self.counted.values()}
        working = {epoch for epoch, until in self.believed.items() if self.now < until} - brought
        assert working <= {attempt.epoch for index in self.attempts for attempt in self.live(index)}
        assert working <= self.leases.keys()

    @invariant()
    def epochs_only_rise(self):
        for attempts in self.attempts.values():
            drawn = [attempt.epoch for attempt in attempts]
            assert drawn == sorted(set(drawn))


TestLeases = Grid.TestCase
TestLeases.settings = settings(max_examples=60, stateful_step_count=40)
