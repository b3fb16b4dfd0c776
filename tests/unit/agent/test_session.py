"""The agent's state machine: what it asks, what it holds, and how fast it lets go."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from corpgrid.agent.instructions import Beat, Freeze, Poll, Register, StopRunners, Submit, Thaw
from corpgrid.agent.session import Host, Session
from corpgrid.domain.device import PowerStatus
from corpgrid.domain.ids import DeviceId, Epoch, JobId
from corpgrid.domain.messages import Grant, GrantedTask, Item, Outcome, PollReply, RegisterReply, Reply

JOB = JobId("job_a")
BATTERY = Host(power=PowerStatus(on_ac_power=False, battery_percent=70.0))


def session(**changes) -> Session:
    return Session(**{"slots": 2, "yield_grace_seconds": 5.0, "rng": random.Random(1), **changes})


def only(instructions, kind):
    return [instruction for instruction in instructions if isinstance(instruction, kind)]


def up(made: Session, now: float = 0.0):
    made.advance(now=now)
    return made.registered(RegisterReply(device=DeviceId("dev_a"), session="s"), now=now)


def grant(epoch: int, *indexes: int) -> Grant:
    return Grant(Epoch(epoch), JOB, tuple(GrantedTask(index, 0) for index in indexes), 20.0)


def done(index: int, seconds: float = 0.1) -> Item:
    return Item(index, 0, Epoch(0), Outcome.RESULT, payload=b"x", seconds=seconds)


def test_it_registers_then_polls_for_a_task_a_slot():
    made = session()
    assert only(made.advance(now=0.0), Register) == [Register(())]
    polls = only(up(made), Poll)
    assert [poll.wanted for poll in polls] == [2]
    assert not made.advance(now=0.0)


def test_results_ride_on_the_poll_when_one_is_due():
    made = session()
    up(made)
    made.polled(PollReply(grants=(grant(1, 0, 1, 2, 3),)), now=0.0)
    made.queue.take(JOB, 4)
    out = made.finished(JOB, [done(0), done(1), done(2)], now=1.0)
    (poll,) = only(out, Poll)
    assert [item.index for item in poll.batches[JOB]] == [0, 1, 2]
    assert all(item.epoch == 1 for item in poll.batches[JOB])
    assert poll.status.held == (1,)


def quick(made: Session, epoch: int, *, now: float):
    """One task that takes next to no time, granted to an agent that knows such tasks."""
    return made.polled(PollReply(grants=(grant(epoch, 0),)), now=now)


def familiar(seconds: float) -> Session:
    """An agent that has done one task of so many seconds."""
    made = session(slots=1)
    up(made)
    quick(made, 1, now=0.0)
    made.queue.take(JOB, 1)
    (poll,) = only(made.finished(JOB, [done(0, seconds)], now=0.1), Poll)
    assert poll.batches
    return made


def test_what_is_done_in_a_moment_is_waited_for_and_rides_on_the_poll():
    made = familiar(0.0001)
    assert not quick(made, 2, now=1.0)
    assert made.next_due(now=1.0) < 0.01
    made.queue.take(JOB, 1)
    (poll,) = made.finished(JOB, [done(0, 0.0001)], now=1.0005)
    assert isinstance(poll, Poll)
    assert poll.batches


def test_a_moment_is_not_waited_for_longer_than_a_moment():
    made = familiar(0.0001)
    assert not quick(made, 2, now=1.0)
    made.queue.take(JOB, 1)
    assert not only(made.advance(now=1.0 + made.next_due(now=1.0) / 2), Poll)
    assert only(made.advance(now=1.0 + made.next_due(now=1.0)), Poll)
    assert only(made.finished(JOB, [done(0, 5.0)], now=6.0), Submit)


def test_a_moment_that_was_too_short_is_no_reason_not_to_wait_the_next_time():
    made = familiar(0.0001)
    quick(made, 2, now=1.0)
    made.queue.take(JOB, 1)
    assert only(made.advance(now=1.01), Poll)
    assert only(made.finished(JOB, [done(0, 0.0001)], now=1.02), Submit)
    made.submitted(Reply(received=(1,)), now=1.03)
    assert not only(quick(made, 3, now=2.0), Poll)


def test_what_takes_longer_is_not_waited_for():
    made = familiar(0.1)
    assert only(quick(made, 2, now=1.0), Poll)


def test_results_are_submitted_while_a_poll_waits():
    made = session(slots=3)
    up(made)
    made.polled(PollReply(grants=(grant(1, 0, 1),)), now=0.0)
    made.queue.take(JOB, 2)
    (submit,) = only(made.finished(JOB, [done(0), done(1)], now=0.2), Submit)
    assert len(submit.batches[JOB]) == 2
    made.submitted(Reply(received=(2,)), now=0.3)
    assert made.queue.held() == ()


@pytest.mark.parametrize("refused", [True, False])
def test_results_that_did_not_arrive_are_sent_again(refused):
    made = session(slots=3)
    up(made)
    made.polled(PollReply(grants=(grant(1, 0, 1),)), now=0.0)
    made.queue.take(JOB, 2)
    (submit,) = only(made.finished(JOB, [done(0), done(1)], now=0.2), Submit)
    made.failed(submit, refused=refused, now=0.3)
    out = made.advance(now=60.0)
    if refused:
        assert only(out, Register) == [Register((Epoch(1),))]
        out = made.registered(RegisterReply(device=DeviceId("dev_a"), session="t"), now=60.0)
    sent = [
        item.index for kind in (Poll, Submit) for request in only(out, kind) for item in request.batches.get(JOB, [])
    ]
    assert sent == [0, 1]


def test_on_battery_everything_is_frozen_and_handed_back_at_once():
    made = session()
    up(made)
    made.polled(PollReply(grants=(grant(1, 0, 1, 2),)), now=0.0)
    made.queue.take(JOB, 1)
    out = made.host_changed(BATTERY, now=1.0)
    assert isinstance(out[0], Freeze)
    assert only(out, StopRunners)
    (submit,) = only(out, Submit)
    assert {item.outcome for item in submit.batches[JOB]} == {Outcome.STOPPED}
    assert {item.reason for item in submit.batches[JOB]} == {"battery"}
    assert len(submit.batches[JOB]) == 3
    assert only(out, Beat)
    assert not submit.status.power.on_ac_power


def test_a_short_visit_of_the_owner_only_freezes():
    made = session()
    up(made)
    made.polled(PollReply(grants=(grant(1, 0, 1),)), now=0.0)
    made.queue.take(JOB, 1)
    out = made.host_changed(Host(blockers=("owner_present",)), now=1.0)
    assert only(out, Freeze)
    assert not only(out, StopRunners)
    assert made.next_due(now=1.0) <= 5.0
    assert only(made.host_changed(Host(), now=3.0), Thaw)
    made.host_changed(Host(blockers=("owner_present",)), now=4.0)
    assert only(made.advance(now=9.1), StopRunners)


def test_a_reply_that_says_stop_is_obeyed_and_a_later_one_lifts_it():
    made = session()
    up(made)
    made.polled(PollReply(grants=(grant(1, 0, 1),)), now=0.0)
    made.queue.take(JOB, 1)
    out = made.beaten(Reply(should_continue=False, message="paused"), now=1.0)
    assert only(out, StopRunners)
    assert not made.may_run
    assert made.message == "paused"
    (waiting,) = only(made.polled(PollReply(should_continue=False), now=1.1), Poll)
    assert waiting.wanted == 0, "it asks for leave, not for work"
    made.submitted(Reply(should_continue=False), now=1.1)
    assert not only(made.advance(now=30.0), Poll)
    (polls,) = only(made.polled(PollReply(), now=31.0), Poll)
    assert polls.wanted == 2
    assert made.message == ""


def test_it_comes_back_when_the_scheduler_expects_room_and_not_with_all_others():
    moments = set()
    for seed in range(20):
        made = session(rng=random.Random(seed))
        (poll,) = only(up(made), Poll)
        made.failed(poll, refused=False, pause_seconds=4.0, now=10.0)
        assert not made.advance(now=13.9)
        due = 10.0 + made.next_due(now=10.0)
        assert 14.0 <= due <= 18.0
        assert only(made.advance(now=due), Poll)
        moments.add(round(due, 1))
    assert len(moments) > 5


def test_an_owner_who_is_there_is_not_asked_whether_the_scheduler_allows_work():
    made = session()
    up(made)
    made.host_changed(BATTERY, now=0.5)
    assert not only(made.polled(PollReply(should_continue=False, message="battery"), now=1.0), Poll)
    assert only(made.host_changed(Host(), now=2.0), Poll)


def test_lost_leases_are_dropped_and_their_runner_stopped():
    made = session()
    up(made)
    made.polled(PollReply(grants=(grant(1, 0), grant(2, 1))), now=0.0)
    made.queue.take(JOB, 1)
    out = made.beaten(Reply(lost=(Epoch(1),)), now=1.0)
    assert only(out, StopRunners) == [StopRunners(frozenset({JOB}))]
    assert made.queue.held() == (2,)
    made.finished(JOB, [done(0)], now=1.1)
    assert made.queue.to_send == 0


def test_closing_hands_everything_back():
    made = session()
    up(made)
    made.polled(PollReply(grants=(grant(1, 0, 1),)), now=0.0)
    out = made.close(now=1.0)
    (submit,) = only(out, Submit)
    assert {item.reason for item in submit.batches[JOB]} == {"agent_stopping"}
    assert not made.drained
    (beat,) = only(out, Beat)
    assert beat.status.blockers == ("agent_stopping",)
    made.submitted(Reply(), now=1.1)
    assert not made.drained
    made.beaten(Reply(), now=1.1)
    assert made.drained


def test_work_that_comes_while_it_closes_is_handed_back_too():
    made = session()
    up(made)
    made.close(now=1.0)
    out = made.polled(PollReply(grants=(grant(1, 0, 1),)), now=1.1)
    (submit,) = only(out, Submit)
    assert [item.reason for item in submit.batches[JOB]] == ["agent_stopping"] * 2
    made.beaten(Reply(), now=1.1)
    assert not made.drained
    made.submitted(Reply(), now=1.2)
    assert made.drained


def test_a_closing_agent_without_a_scheduler_waits_for_nobody():
    made = session()
    made.failed(only(made.advance(now=0.0), Register)[0], refused=False, now=0.1)
    made.close(now=1.0)
    assert made.drained


def test_also_runners_without_a_task_are_ended_when_the_owner_stays():
    made = session()
    up(made)
    assert not only(made.host_changed(Host(blockers=("owner_present",)), now=1.0), StopRunners)
    assert only(made.advance(now=6.1), StopRunners)
    assert not made.advance(now=6.2)
    assert only(made.host_changed(Host(), now=7.0), Thaw)


@pytest.mark.parametrize("host", [BATTERY, Host(blockers=("paused",))])
def test_work_that_comes_too_late_for_the_host_goes_back_with_its_reason(host):
    made = session(yield_grace_seconds=0.0)
    up(made)
    made.host_changed(host, now=1.0)
    out = made.polled(PollReply(grants=(grant(1, 0),)), now=1.1)
    assert only(out, StopRunners)
    (submit,) = only(out, Submit)
    assert [item.reason for item in submit.batches[JOB]] == [host.reason]


def test_also_idle_runners_are_ended_when_the_scheduler_says_stop():
    made = session()
    up(made)
    assert only(made.beaten(Reply(should_continue=False, message="paused"), now=1.0), StopRunners)
    assert not only(made.beaten(Reply(should_continue=False, message="paused"), now=2.0), StopRunners)


def test_a_result_that_the_scheduler_chokes_on_holds_up_no_other():
    made = session(slots=8)
    up(made)
    made.polled(PollReply(grants=(grant(1, *range(16)),)), now=0.0)
    made.queue.take(JOB, 16)
    out, now, arrived = made.finished(JOB, [done(index) for index in range(16)], now=1.0), 1.0, {}
    while made.queue.held():
        now += 60.0
        for request in only(out, Submit) + only(out, Poll):
            items = request.batches.get(JOB, [])
            if any(item.index == 11 and item.outcome is Outcome.RESULT for item in items):
                out = made.failed(request, refused=False, fault="the scheduler cannot read it", now=now)
            else:
                arrived |= {item.index: item for item in items}
                reply = made.submitted if isinstance(request, Submit) else made.polled
                out = reply(Reply() if isinstance(request, Submit) else PollReply(), now=now)
        out += made.advance(now=now + 30.0)
        assert now < 3600
    assert sorted(arrived) == list(range(16))
    bad = arrived.pop(11)
    assert (bad.outcome, bad.reason, bad.detail) == (Outcome.CRASHED, "undeliverable", "the scheduler cannot read it")
    assert all(item.outcome is Outcome.RESULT for item in arrived.values())


def test_a_device_that_can_start_nothing_rests_longer_each_time_and_asks_again():
    made = session()
    up(made)
    made.polled(PollReply(grants=(grant(1, 0, 1, 2, 3),)), now=0.0)
    rests, now = [], 1.0
    for _ in range(9):
        rests.append(made.rest(now=now))
        assert made.rest(now=now) == rests[-1], "one rest at a time"
        assert not only(made.advance(now=now), Poll)
        now += rests[-1]
    assert rests[0] < rests[1] < rests[2]
    assert max(rests) <= 15.0
    made.queue.stop_all("refused")
    assert only(made.advance(now=now), Poll)


@pytest.mark.parametrize("late", ["while it registers", "when it has"])
def test_requests_that_are_refused_together_lead_to_one_registration(late):
    made = session()
    up(made)
    (beat,) = only(made.advance(now=60.0), Beat)
    poll = Poll(beat.status, 1, 0.0, {})
    made.failed(beat, refused=True, now=60.0)
    (register,) = only(made.advance(now=120.0), Register)
    if late == "when it has":
        made.registered(RegisterReply(device=DeviceId("d"), session="another"), now=120.0)
    out = made.failed(poll, refused=True, now=120.0) + made.advance(now=180.0)
    assert not only(out, Register), register


@given(st.floats(1e-6, 100.0))
@settings(max_examples=50)
def test_short_tasks_are_asked_for_by_the_hundred_and_long_ones_one_at_a_time(seconds):
    made = session()
    up(made)
    made.polled(PollReply(grants=(grant(1, *range(4)),)), now=0.0)
    made.queue.take(JOB, 4)
    made.finished(JOB, [done(index, seconds) for index in range(4)], now=1.0)
    wanted = made.queue.wanted()
    assert (2 if seconds >= 1.0 else 4) <= wanted <= 512
    if seconds >= 1.0:
        assert wanted == 2
        assert made.queue.chunk(JOB) == 1
    if seconds <= 1e-4:
        assert wanted == 512


class Requests(RuleBasedStateMachine):
    """Whatever order things happen in: one request of a kind at a time, nothing lost, nothing sent twice."""

    def __init__(self):
        super().__init__()
        self.made = session()
        self.now = 0.0
        self.open = {}
        self.epoch = 0
        self.granted = set()
        self.accepted = []
        self.carry(self.made.advance(now=0.0))

    def carry(self, instructions):
        for instruction in instructions:
            if isinstance(instruction, (Register, Poll, Submit, Beat)):
                kind = type(instruction)
                assert kind not in self.open, kind
                self.open[kind] = instruction

    def arrive(self, request):
        batches = getattr(request, "batches", {})
        self.accepted += [(item.index, item.epoch) for items in batches.values() for item in items]

    @precondition(lambda self: Register in self.open)
    @rule()
    def registers(self):
        del self.open[Register]
        self.carry(self.made.registered(RegisterReply(device=DeviceId("d"), session="s"), now=self.now))

    @precondition(lambda self: Poll in self.open)
    @rule(count=st.integers(0, 5))
    def poll_is_answered(self, count):
        self.arrive(self.open.pop(Poll))
        grants = ()
        if count:
            self.epoch += 1
            indexes = range(100 * self.epoch, 100 * self.epoch + count)
            self.granted |= {(index, self.epoch) for index in indexes}
            grants = (grant(self.epoch, *indexes),)
        self.carry(self.made.polled(PollReply(grants=grants), now=self.now))

    @precondition(lambda self: Submit in self.open)
    @rule()
    def submit_is_answered(self):
        self.arrive(self.open.pop(Submit))
        self.carry(self.made.submitted(Reply(), now=self.now))

    @precondition(lambda self: Beat in self.open)
    @rule(go_on=st.booleans())
    def beat_is_answered(self, go_on):
        del self.open[Beat]
        self.carry(self.made.beaten(Reply(should_continue=go_on), now=self.now))

    @precondition(lambda self: self.open)
    @rule(data=st.data(), refused=st.booleans())
    def request_fails(self, data, refused):
        kind = data.draw(st.sampled_from(sorted(self.open, key=str)))
        self.carry(self.made.failed(self.open.pop(kind), refused=refused, now=self.now))

    @rule(most=st.integers(1, 3))
    def runner_works(self, most):
        if self.made.may_run:
            taken = [task for job in self.made.queue.jobs() for task in self.made.queue.take(job, most)]
            self.carry(self.made.finished(JOB, [done(task.index) for task in taken], now=self.now))

    @rule(host=st.sampled_from([Host(), BATTERY, Host(blockers=("owner_present",))]))
    def host_changes(self, host):
        self.carry(self.made.host_changed(host, now=self.now))

    @rule(seconds=st.floats(0.01, 30.0))
    def time_passes(self, seconds):
        self.now += seconds
        self.carry(self.made.advance(now=self.now))

    @invariant()
    def it_never_spins(self):
        self.carry(self.made.advance(now=self.now))
        assert self.made.next_due(now=self.now) > 0

    @invariant()
    def nothing_runs_while_the_host_forbids_it(self):
        if not self.made.host.power.on_ac_power:
            assert self.made.queue.unfinished == 0

    @invariant()
    def every_grant_is_held_or_was_brought_back_once(self):
        assert len(self.accepted) == len(set(self.accepted))
        assert set(self.accepted) <= self.granted
        back = set(self.accepted)
        for index, epoch in self.granted - back:
            assert epoch in self.made.queue.held(), index


TestRequests = Requests.TestCase
TestRequests.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
