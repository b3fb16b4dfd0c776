from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from corpgrid.domain.device import Device, Facts, PowerStatus
from corpgrid.domain.effects import Effects, NewJob, View
from corpgrid.domain.events import DeviceRegistered, Event, Heartbeat, JobCancelled, JobSubmitted, Polled, Submitted
from corpgrid.domain.ids import DeviceId, Digest, JobId, KeyId, OwnerId, SiteId
from corpgrid.domain.job import Arguments, Job, JobSpec, Task, TaskState
from corpgrid.domain.messages import Batch, PollReply, RegisterRequest, Reply
from corpgrid.errors import (
    GridError,
    IllegalMoveError,
    NotFoundError,
    OverloadedError,
    StaleError,
    StoreError,
    UnavailableError,
)
from tests.unit.scheduler.scripted import Bench, answer_all

JOB = JobId("job_a")
READY = Effects(tasks=(Task(JOB, 0, state=TaskState.READY, open=1),))


async def test_nobody_is_answered_before_the_commit() -> None:
    async with Bench(answer_all).running() as bench:
        bench.store.gate.clear()
        asking = asyncio.create_task(bench.tick.ask(bench.heartbeat()))
        await bench.settled()
        assert len(bench.ticks) == 1
        assert not asking.done()
        bench.store.gate.set()
        assert await asking == Reply()


async def test_what_arrives_during_a_commit_shares_the_next_tick() -> None:
    async with Bench(answer_all).running() as bench:
        bench.store.gate.clear()
        asking = [asyncio.create_task(bench.tick.ask(bench.heartbeat()))]
        await bench.settled()
        asking += [asyncio.create_task(bench.tick.ask(bench.heartbeat())) for _ in range(50)]
        await bench.settled()
        bench.store.gate.set()
        await asyncio.gather(*asking)
        assert [len(events) for events in bench.ticks] == [1, 50]
        assert bench.counters.ticks == 2
        assert bench.counters.events == 51


async def test_a_tick_is_bounded() -> None:
    async with Bench(answer_all, tick_events=20).running() as bench:
        await asyncio.gather(*(bench.tick.ask(bench.heartbeat()) for _ in range(50)))
        assert [len(events) for events in bench.ticks] == [20, 20, 10]


async def test_a_full_queue_asks_to_come_back() -> None:
    async with Bench(answer_all, queue_events=2).running() as bench:
        bench.store.gate.clear()
        first = asyncio.create_task(bench.tick.ask(bench.heartbeat()))
        await bench.settled()
        waiting = [asyncio.create_task(bench.tick.ask(bench.heartbeat())) for _ in range(2)]
        await bench.settled()
        with pytest.raises(OverloadedError, match="queue_events") as later:
            await bench.tick.ask(bench.heartbeat())
        assert 0.0 < later.value.retry_after_seconds <= 30.0
        bench.store.gate.set()
        await asyncio.gather(first, *waiting)
        assert bench.counters.overloads == 1


@pytest.mark.parametrize(
    ("kind", "taken"),
    [("poll", 10), ("registration", 14), ("heartbeat", 17), ("poll with results", 20), ("results", 20)],
)
async def test_what_can_come_later_is_turned_away_first_and_results_last(kind: str, taken: int) -> None:
    async with Bench(answer_all, queue_events=20).running() as bench:
        bench.store.gate.clear()
        asking = [asyncio.create_task(bench.tick.ask(bench.heartbeat()))]
        await bench.settled()
        asking += [asyncio.create_task(bench.tick.ask(_event(bench, "results"))) for _ in range(taken - 1)]
        await asyncio.sleep(0)
        asking.append(asyncio.create_task(bench.tick.ask(_event(bench, kind))))
        await asyncio.sleep(0)
        assert not asking[-1].done(), f"{taken - 1} wait, and there is room"
        with pytest.raises(OverloadedError):
            await bench.tick.ask(_event(bench, kind))
        bench.store.gate.set()
        for task in asking:
            task.cancel()


async def test_an_error_among_the_replies_is_raised_to_its_sender_alone() -> None:
    def script(_view: View, events: Sequence[Event]) -> Effects:
        refused = {event.ticket: NotFoundError("no such job") for event in events if isinstance(event, JobCancelled)}
        return Effects(replies={event.ticket: Reply() for event in events} | refused)

    async with Bench(script).running() as bench:
        cancel = JobCancelled(ticket=bench.tick.ticket(), job=JOB, reason="")
        told = await asyncio.gather(bench.tick.ask(cancel), bench.tick.ask(bench.heartbeat()), return_exceptions=True)
        assert isinstance(told[0], NotFoundError)
        assert told[1] == Reply()


async def test_a_stale_view_is_read_again() -> None:
    async with Bench(answer_all).running() as bench:
        bench.store.failures = [StaleError("rows changed"), StaleError("rows changed")]
        assert await bench.tick.ask(bench.heartbeat()) == Reply()
        assert bench.store.tries == 3
        assert bench.counters.stale_ticks == 2
        assert bench.counters.ticks == 1


async def test_a_view_that_stays_stale_is_given_up() -> None:
    async with Bench(answer_all, stale_tries=3).running() as bench:
        bench.store.failures = [StaleError("rows changed")] * 3
        with pytest.raises(UnavailableError, match="rows changed"):
            await bench.tick.ask(bench.heartbeat())
        assert bench.store.tries == 3


async def test_when_the_store_fails_every_waiter_is_told_and_the_next_tick_goes_on() -> None:
    async with Bench(answer_all).running() as bench:
        bench.store.failures = [StoreError("disk full")]
        told = await asyncio.gather(*(bench.tick.ask(bench.heartbeat()) for _ in range(3)), return_exceptions=True)
        assert [type(error) for error in told] == [UnavailableError] * 3
        assert "disk full" in str(told[0])
        assert await bench.tick.ask(bench.heartbeat()) == Reply()
        assert bench.counters.store_failures == 1


@pytest.mark.parametrize("fault", [AssertionError("bug"), IllegalMoveError("task", old="final", new="ready")])
async def test_an_event_that_breaks_the_rules_harms_only_its_sender(fault: Exception) -> None:
    def script(view: View, events: Sequence[Event]) -> Effects:
        if any(isinstance(event, JobCancelled) for event in events):
            raise fault
        return answer_all(view, events)

    async with Bench(script).running() as bench:
        bench.store.gate.clear()
        first = asyncio.create_task(bench.tick.ask(bench.heartbeat()))
        await bench.settled()
        good = [asyncio.create_task(bench.tick.ask(bench.heartbeat())) for _ in range(5)]
        bad = asyncio.create_task(bench.tick.ask(JobCancelled(ticket=bench.tick.ticket(), job=JOB, reason="")))
        good += [asyncio.create_task(bench.tick.ask(bench.heartbeat())) for _ in range(5)]
        bench.store.gate.set()
        assert await asyncio.gather(first, *good) == [Reply()] * 11
        with pytest.raises(IllegalMoveError if isinstance(fault, IllegalMoveError) else GridError):
            await bad
        assert bench.counters.faults == 1


async def test_a_sender_who_has_gone_is_left_out() -> None:
    async with Bench(answer_all).running() as bench:
        bench.store.gate.clear()
        first = asyncio.create_task(bench.tick.ask(bench.heartbeat()))
        await bench.settled()
        gone = asyncio.create_task(bench.tick.ask(bench.heartbeat()))
        await bench.settled()
        gone.cancel()
        await bench.settled()
        bench.store.gate.set()
        await first
        await bench.settled()
        assert [len(events) for events in bench.ticks] == [1]


# -- polls


async def test_an_idle_grid_with_a_thousand_parked_polls_does_nothing() -> None:
    async with Bench(answer_all).running() as bench:
        polls = [asyncio.create_task(bench.tick.ask(bench.poll(f"dev_{n}"), wait_seconds=60.0)) for n in range(1_000)]
        await bench.settled()
        tries = bench.store.tries
        assert bench.counters.parked_polls == 1_000
        assert sum(len(events) for events in bench.ticks) == 1_000
        await asyncio.sleep(0.05)
        assert bench.store.tries == tries
        await bench.tick.ask(bench.heartbeat())
        await bench.settled()
        assert bench.store.tries == tries + 1
        assert bench.ticks[-1] == [event for event in bench.ticks[-1] if isinstance(event, Heartbeat)]
        for poll in polls:
            poll.cancel()


async def test_only_so_many_polls_wait() -> None:
    async with Bench(answer_all, parked_polls=2).running() as bench:
        polls = [asyncio.create_task(bench.tick.ask(bench.poll(f"dev_{n}"), wait_seconds=60.0)) for n in range(3)]
        await bench.settled()
        with pytest.raises(OverloadedError, match="parked_polls"):
            await polls[2]
        for poll in polls:
            poll.cancel()


async def test_a_poll_gets_work_that_comes_later() -> None:
    bench = Bench(answer_all)
    async with bench.running():
        polling = asyncio.create_task(bench.tick.ask(bench.poll(), wait_seconds=60.0))
        await bench.settled()
        bench.script = _grants_after(_new_job())
        await bench.tick.ask(bench.heartbeat())
        reply = await polling
        assert reply == PollReply(message="work")
        (asked,) = [event for event in bench.ticks[-1] if isinstance(event, Polled)]
        assert not asked.first


@pytest.mark.parametrize(
    ("effects", "asked"),
    [
        (Effects(), 1),
        (READY, 2),
        (Effects(tasks=(Task(JOB, 0, state=TaskState.PROVISIONAL, open=1),)), 2),
        (Effects(tasks=(Task(JOB, 0, state=TaskState.LEASED, open=0, live=1),)), 1),
        (Effects(tasks=(Task(JOB, 0, state=TaskState.WAITING, open=1),)), 1),
    ],
    ids=["nothing", "ready", "audit", "leased", "waiting"],
)
async def test_parked_polls_are_asked_again_only_when_a_task_wants_a_device(effects: Effects, asked: int) -> None:
    bench = Bench(answer_all)
    async with bench.running():
        polling = asyncio.create_task(bench.tick.ask(bench.poll(), wait_seconds=60.0))
        await bench.settled()
        bench.script = _once(effects)
        await bench.tick.ask(bench.heartbeat())
        await bench.settled()
        assert bench.asked("dev_a") == asked
        polling.cancel()


async def test_a_job_is_put_to_a_poll_that_was_parked_while_it_waited_for_its_tick() -> None:
    async with Bench(answer_all).running() as bench:
        bench.store.gate.clear()
        polling = asyncio.create_task(bench.tick.ask(bench.poll(), wait_seconds=60.0))
        await bench.settled()
        submitting = asyncio.create_task(bench.tick.ask(_submitted(bench.tick.ticket())))
        await bench.settled()
        bench.store.gate.set()
        await submitting
        assert [sorted(type(event).__name__ for event in events) for events in bench.ticks] == [
            ["Polled"],
            ["JobSubmitted", "Polled"],
        ]
        polling.cancel()


@pytest.mark.parametrize(
    ("change", "asked"),
    [({"last_seen": 9.0}, 1), ({"blockers": ("busy",)}, 2), ({"power": PowerStatus(on_ac_power=False)}, 2)],
    ids=["seen", "blocked", "battery"],
)
async def test_a_device_whose_row_changed_is_asked_again(change: dict[str, object], asked: int) -> None:
    bench = Bench(answer_all)
    row = Device(id=DeviceId("dev_a"), public_key=b"", owner=OwnerId("o"), site=SiteId("s"))
    bench.store.view = View(now=0.0, devices={row.id: row})
    async with bench.running():
        polling = [
            asyncio.create_task(bench.tick.ask(bench.poll(device), wait_seconds=60.0)) for device in ("dev_a", "dev_b")
        ]
        await bench.settled()
        bench.script = _once(Effects(devices=(replace(row, **change),)))
        await bench.tick.ask(bench.heartbeat())
        await bench.settled()
        assert (bench.asked("dev_a"), bench.asked("dev_b")) == (asked, 1)
        for poll in polling:
            poll.cancel()


async def test_a_round_over_many_parked_polls_goes_on_tick_by_tick_while_work_is_ready() -> None:
    bench = Bench(answer_all, tick_polls=10)
    bench.store.view = View(now=0.0, ready=((JOB, 0),))
    async with bench.running():
        polls = [asyncio.create_task(bench.tick.ask(bench.poll(f"dev_{n}"), wait_seconds=60.0)) for n in range(35)]
        await bench.settled()
        before = len(bench.ticks)
        bench.script = _once(READY)
        await bench.tick.ask(bench.heartbeat())
        await bench.settled()
        assert [len(events) for events in bench.ticks[before:]] == [1, 10, 10, 10, 5]
        for poll in polls:
            poll.cancel()


async def test_a_round_ends_when_nothing_is_ready() -> None:
    bench = Bench(answer_all, tick_polls=10)
    async with bench.running():
        polls = [asyncio.create_task(bench.tick.ask(bench.poll(f"dev_{n}"), wait_seconds=60.0)) for n in range(35)]
        await bench.settled()
        before = len(bench.ticks)
        bench.script = _once(READY)
        await bench.tick.ask(bench.heartbeat())
        await bench.settled()
        assert [len(events) for events in bench.ticks[before:]] == [1, 10]
        for poll in polls:
            poll.cancel()


async def test_a_poll_whose_wait_is_over_is_answered_without_a_tick() -> None:
    async with Bench(answer_all).running() as bench:
        reply = await bench.tick.ask(bench.poll(), wait_seconds=0.02)
        assert reply == PollReply()
        assert bench.store.tries == 1


async def test_a_poll_whose_wait_ends_while_it_is_decided_hears_what_was_decided() -> None:
    bench = Bench(lambda _view, events: Effects(replies={event.ticket: PollReply(message="work") for event in events}))
    async with bench.running():
        bench.store.gate.clear()
        polling = asyncio.create_task(bench.tick.ask(bench.poll(), wait_seconds=0.01))
        await asyncio.sleep(0.05)
        assert not polling.done()
        bench.store.gate.set()
        assert await polling == PollReply(message="work")


async def test_a_poll_whose_wait_ends_while_it_is_decided_is_not_parked() -> None:
    bench = Bench(answer_all)
    async with bench.running():
        bench.store.gate.clear()
        polling = asyncio.create_task(bench.tick.ask(bench.poll(), wait_seconds=0.01))
        await asyncio.sleep(0.05)
        bench.store.gate.set()
        assert await asyncio.wait_for(polling, 5.0) == PollReply()


async def test_a_parked_poll_whose_wait_ends_while_it_is_asked_hears_what_was_decided() -> None:
    bench = Bench(answer_all)
    async with bench.running():
        polling = asyncio.create_task(bench.tick.ask(bench.poll(), wait_seconds=0.1))
        await bench.settled()
        bench.script = _grants_after(READY)
        await bench.tick.ask(bench.heartbeat())
        bench.store.gate.clear()
        await asyncio.sleep(0.15)
        assert not polling.done()
        bench.store.gate.set()
        assert await polling == PollReply(message="work")


async def test_parked_polls_outlive_a_failing_store() -> None:
    bench = Bench(answer_all)
    async with bench.running():
        polling = asyncio.create_task(bench.tick.ask(bench.poll(), wait_seconds=60.0))
        await bench.settled()
        bench.script = _grants_after(READY)
        await bench.tick.ask(bench.heartbeat())
        bench.store.failures = [StoreError("disk full")]
        assert await polling == PollReply(message="work")


async def test_a_devices_newest_poll_is_its_last_in_a_tick() -> None:
    bench = Bench(answer_all)
    async with bench.running():
        older = asyncio.create_task(bench.tick.ask(bench.poll(), wait_seconds=60.0))
        await bench.settled()
        bench.store.gate.clear()
        bench.script = _once(READY)
        stirring = asyncio.create_task(bench.tick.ask(bench.heartbeat()))
        await bench.settled()
        newer = asyncio.create_task(bench.tick.ask(bench.poll(), wait_seconds=60.0))
        await bench.settled()
        bench.store.gate.set()
        await stirring
        await bench.settled()
        assert [event.first for event in bench.ticks[-1] if isinstance(event, Polled)] == [False, True]
        older.cancel()
        newer.cancel()


# -- the end


async def test_draining_answers_polls_and_takes_everything_else() -> None:
    async with Bench(answer_all).running() as bench:
        polling = asyncio.create_task(bench.tick.ask(bench.poll(), wait_seconds=60.0))
        await bench.settled()
        bench.tick.drain()
        assert await polling == PollReply()
        assert await bench.tick.ask(bench.poll(), wait_seconds=60.0) == PollReply()
        assert await bench.tick.ask(bench.heartbeat()) == Reply()


async def test_closing_decides_what_waits_and_refuses_what_comes() -> None:
    async with Bench(answer_all).running() as bench:
        bench.store.gate.clear()
        asking = [asyncio.create_task(bench.tick.ask(bench.heartbeat()))]
        await bench.settled()
        asking.append(asyncio.create_task(bench.tick.ask(bench.heartbeat())))
        await bench.settled()
        bench.tick.close()
        with pytest.raises(UnavailableError, match="stopping"):
            await bench.tick.ask(bench.heartbeat())
        bench.store.gate.set()
        assert await asyncio.gather(*asking) == [Reply(), Reply()]


async def test_nobody_is_left_waiting_when_the_loop_is_cancelled() -> None:
    bench = Bench(answer_all)
    task = asyncio.create_task(bench.tick.run())
    bench.store.gate.clear()
    asking = asyncio.create_task(bench.tick.ask(bench.heartbeat()))
    await bench.settled()
    task.cancel()
    with pytest.raises(UnavailableError, match="stopped"):
        await asking


def _new_job() -> Effects:
    digest = Digest(bytes(32))
    spec = JobSpec(name="", bundle=digest, arguments=_one(digest), not_after=0.0, nonce="")
    job = Job(id=JOB, name="", submitter=KeyId(""), tenant="", priority=0, tasks=1, created_at=0.0)
    return Effects(new_jobs=(NewJob(job, spec, b"", 1),))


def _event(bench: Bench, kind: str) -> Event:
    ticket, status = bench.tick.ticket(), bench.status()
    batch = Batch(JOB, status.device, ())
    request = RegisterRequest(
        public_key=b"",
        owner="",
        site="",
        name="",
        facts=Facts(),
        power=status.power,
        boot="",
        signed_at=0.0,
        capacity=1,
    )
    events: dict[str, Event] = {
        "poll": bench.poll(),
        "registration": DeviceRegistered(
            ticket=ticket, device=status.device, request=request, session=b"", trusted=False
        ),
        "heartbeat": bench.heartbeat(),
        "poll with results": replace(bench.poll(), batches=(batch,)),
        "results": Submitted(ticket=ticket, status=status, batches=(batch,)),
    }
    return events[kind]


def _submitted(ticket: int) -> JobSubmitted:
    new = _new_job().new_jobs[0]
    return JobSubmitted(ticket=ticket, job=JOB, spec=new.spec, envelope=b"", submitter=KeyId(""))


def _one(digest: Digest) -> Arguments:
    return Arguments(tasks=1, page_tasks=1, pages=digest)


def _once(effects: Effects):
    """These effects in the next tick, nothing after."""
    left = [effects]

    def script(view: View, events: Sequence[Event]) -> Effects:
        now = left.pop() if left else Effects()
        return replace(now, replies=answer_all(view, events).replies)

    return script


def _grants_after(effects: Effects):
    """These effects in the next tick, and work for every poll in those after it."""
    left = [effects]

    def script(view: View, events: Sequence[Event]) -> Effects:
        replies = dict(answer_all(view, events).replies)
        if left:
            return replace(left.pop(), replies=replies)
        work = {event.ticket: PollReply(message="work") for event in events if isinstance(event, Polled)}
        return Effects(replies=replies | work)

    return script
