"""The agent's queue against a plain account of the same tasks: nothing is lost, doubled, or held for nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from corpgrid.agent.queue import WorkQueue
from corpgrid.domain.ids import Epoch, JobId
from corpgrid.domain.messages import Grant, GrantedTask, Item, Outcome

JOBS = (JobId("job_a"), JobId("job_b"))
TASKS = 6


class Task(NamedTuple):
    job: JobId
    place: int
    epoch: Epoch


class Account:
    """Where each task stands, one by one."""

    def __init__(self) -> None:
        self.queued: list[Task] = []
        self.running: list[Task] = []
        self.done: list[Task] = []

    def lose(self, epoch: Epoch) -> set[JobId]:
        stopped = {task.job for task in self.running if task.epoch == epoch}
        for tasks in (self.queued, self.running, self.done):
            tasks[:] = [task for task in tasks if task.epoch != epoch]
        return stopped


def item(task: Task, *, seconds: float = 0.001) -> Item:
    return Item(task.place, 0, Epoch(0), Outcome.RESULT, seconds=seconds)


moves = st.tuples(st.sampled_from(["grant", "take", "finish", "give_back", "drop", "send", "stop"]), st.integers(0, 50))


@given(st.lists(moves, max_size=30))
def test_it_keeps_the_same_account(steps: Sequence[tuple[str, int]]) -> None:
    queue, account, granted = WorkQueue(slots=1), Account(), 0
    for move, number in steps:
        job = JOBS[number % 2]
        mine = [task for task in account.running if task.job == job]
        some = mine[: 1 + number % 4]
        match move:
            case "grant":
                granted += 1
                tasks = [Task(job, granted * TASKS + place, Epoch(granted)) for place in range(TASKS)]
                account.queued += tasks
                places = tuple(GrantedTask(task.place, 0) for task in tasks)
                queue.add([Grant(Epoch(granted), job, places, 9.0)])
            case "take":
                taken = queue.take(job, 1 + number % 4)
                expected = [task for task in account.queued if task.job == job][: 1 + number % 4]
                assert [(task.job, task.index, task.epoch) for task in taken] == expected
                account.running += expected
                account.queued = [task for task in account.queued if task not in expected]
            case "finish":
                queue.finish(job, [*map(item, some), *map(item, some)])  # a runner that says it twice changes nothing
                account.done += some
                account.running = [task for task in account.running if task not in some]
            case "give_back":
                queue.give_back([held for held in queue._running.get(job, {}).values() if held.index in _places(some)])
                account.queued = some + account.queued
                account.running = [task for task in account.running if task not in some]
            case "drop":
                epoch = Epoch(1 + number % (granted + 1))
                assert queue.drop([epoch]) == account.lose(epoch)
            case "send":
                batches = queue.take_outbox(1 + number, 1 << 20)
                sent = {(job, item.index, item.epoch) for job, items in batches.items() for item in items}
                assert sent <= set(account.done)
                queue.sent(batches.items())
                account.done = [task for task in account.done if task not in sent]
            case "stop":
                queue.stop_all("battery")
                account.done += account.running + account.queued
                account.running, account.queued = [], []
        _agree(queue, account)


def _places(tasks: Sequence[Task]) -> set[int]:
    return {task.place for task in tasks}


def _agree(queue: WorkQueue, account: Account) -> None:
    everything = account.queued + account.running + account.done
    assert queue.unfinished == len(account.queued) + len(account.running)
    assert queue.to_send == len(account.done)
    assert set(queue.held()) == {task.epoch for task in everything}
    assert queue.active_jobs() == {task.job for task in account.queued + account.running}
    assert set(queue.jobs()) == {task.job for task in account.queued}
    for task in everything:
        assert queue.is_running(task.job, task.place, 0) == (task in account.running)


@given(st.lists(st.floats(1e-6, 10.0), min_size=1, max_size=60))
def test_what_ends_together_teaches_as_much_as_one_by_one(seconds: list[float]) -> None:
    together, apart = WorkQueue(slots=1), WorkQueue(slots=1)
    tasks = [Task(JOBS[0], place, Epoch(1)) for place in range(len(seconds) + 1)]
    items = [item(task, seconds=taken) for task, taken in zip(tasks, seconds, strict=False)]
    for queue in (together, apart):
        queue.add([Grant(Epoch(1), JOBS[0], tuple(GrantedTask(task.place, 0) for task in tasks), 9.0)])
        queue.take(JOBS[0], len(seconds))
    together.finish(JOBS[0], items)
    for one in items:
        apart.finish(JOBS[0], [one])
    slack = 1e-3 * max(seconds)
    assert abs(together.expected_seconds() - apart.expected_seconds()) <= slack
