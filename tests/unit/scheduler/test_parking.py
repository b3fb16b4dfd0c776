from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from corpgrid.domain.device import PowerStatus
from corpgrid.domain.events import Polled
from corpgrid.domain.ids import DeviceId
from corpgrid.domain.messages import AgentStatus
from corpgrid.scheduler.parking import ParkedPolls


def poll(ticket: int, device: str = "") -> Polled:
    status = AgentStatus(device=DeviceId(device or f"dev_{ticket}"), session="", power=PowerStatus())
    return Polled(ticket=ticket, status=status, wanted=1, known_jobs=frozenset())


def tickets(polls: list[Polled]) -> list[int]:
    return [one.ticket for one in polls]


def parked(*numbers: int) -> ParkedPolls:
    polls = ParkedPolls()
    for number in numbers:
        polls.park(poll(number))
    return polls


def test_nothing_is_asked_while_nothing_changes() -> None:
    polls = parked(1, 2, 3)
    assert not polls.waiting
    assert polls.take(10) == []


def test_each_is_asked_once_a_round_the_longest_waiting_first() -> None:
    polls = parked(1, 2, 3)
    polls.stir()
    assert tickets(polls.take(2)) == [1, 2]
    assert polls.waiting
    assert tickets(polls.take(2)) == [3]
    assert not polls.waiting
    polls.stir()
    assert tickets(polls.take(1)) == [1]


def test_a_new_round_goes_on_where_the_last_one_was() -> None:
    polls = parked(1, 2, 3)
    polls.stir()
    polls.take(2)
    polls.stir()
    assert tickets(polls.take(3)) == [3, 1, 2]


def test_one_that_was_parked_in_a_round_waits_for_the_next() -> None:
    polls = parked(1)
    polls.stir()
    polls.park(poll(2))
    assert tickets(polls.take(5)) == [1]


def test_calm_ends_the_round() -> None:
    polls = parked(1, 2)
    polls.stir()
    polls.take(1)
    polls.calm()
    assert not polls.waiting


def test_a_call_asks_for_one_device_alone() -> None:
    polls = parked(1, 2)
    polls.call(DeviceId("dev_2"))
    polls.call(DeviceId("dev_9"))
    assert tickets(polls.take(5)) == [2]
    assert not polls.waiting


def test_a_called_poll_is_not_given_twice_in_one_take() -> None:
    polls = parked(1, 2)
    polls.stir()
    polls.call(DeviceId("dev_2"))
    assert sorted(tickets(polls.take(5))) == [1, 2]


def test_what_is_parked_brings_no_results_again() -> None:
    polls = ParkedPolls()
    polls.park(poll(1))
    polls.stir()
    (one,) = polls.take(1)
    assert not one.first
    assert one.batches == ()


class Machine(RuleBasedStateMachine):
    """Whatever happens: everybody who was parked when it was stirred is asked, and nobody twice."""

    def __init__(self) -> None:
        super().__init__()
        self.polls = ParkedPolls()
        self.here: dict[int, str] = {}
        self.owed: set[int] = set()
        self.next = 0

    @rule(device=st.sampled_from("abc"))
    def park(self, device: str) -> None:
        self.next += 1
        self.polls.park(poll(self.next, device))
        self.here[self.next] = device

    @precondition(lambda self: self.here)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        ticket = data.draw(st.sampled_from(sorted(self.here)))
        self.polls.remove(ticket)
        del self.here[ticket]
        self.owed.discard(ticket)

    @rule()
    def stir(self) -> None:
        self.polls.stir()
        self.owed = set(self.here)

    @rule(device=st.sampled_from("abc"))
    def call(self, device: str) -> None:
        self.polls.call(DeviceId(device))
        self.owed |= {ticket for ticket, owner in self.here.items() if owner == device}

    @rule(limit=st.integers(1, 3))
    def take(self, limit: int) -> None:
        taken = tickets(self.polls.take(limit))
        assert len(taken) == len(set(taken)) <= limit
        assert set(taken) <= set(self.here)
        assert len(set(taken) & self.owed) >= min(limit, len(self.owed))
        self.owed -= set(taken)

    @invariant()
    def owes_what_it_says(self) -> None:
        assert self.polls.waiting >= bool(self.owed)
        assert len(self.polls) == len(self.here)
        assert all(ticket in self.polls for ticket in self.here)
        assert all(self.polls.has(DeviceId(device)) for device in self.here.values())


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
