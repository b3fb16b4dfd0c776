"""What an agent holds: tasks it was granted and has not brought back, and finished items that wait to be sent.

* A task is *queued*, *running*, or done and in the *outbox* until the scheduler has it.  Its epoch is held until
  then, so that a lease never runs out over a result that is on its way.
* How much work to ask for follows how long tasks last: about ``target_seconds`` of it for every runner, so that short
  tasks come by the hundred.  Of long ones, and of a job that nobody knows yet, none is held that cannot start now: it
  would wait here while another device has nothing to do.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from math import inf
from operator import attrgetter
from typing import NamedTuple

from corpgrid.domain.ids import Epoch, JobId
from corpgrid.domain.messages import Grant, Item, Outcome

_SMOOTHING = 0.3
_LEARNT_TASKS = 20
"""Of tasks that end together; those before them would count for less than a thousandth."""
_LONG_SECONDS = 1.0
_EPOCH: Callable[[Item], Epoch] = attrgetter("epoch")


class HeldTask(NamedTuple):
    """One attempt that this agent has the right to make."""

    job: JobId
    index: int  # type: ignore[assignment]  # a field here, not the method of tuples
    attempt: int
    epoch: Epoch


@dataclass(slots=True)
class WorkQueue:
    """The tasks of all jobs on this device.

    Attributes:
        slots: runners that work at once.
        target_seconds: how much work to hold for each of them.
        grant_tasks: the most tasks to hold.
    """

    slots: int
    target_seconds: float = 0.25
    grant_tasks: int = 512
    _queued: dict[JobId, deque[HeldTask]] = field(default_factory=dict)
    _running: dict[JobId, dict[tuple[int, int], HeldTask]] = field(default_factory=dict)
    _outbox: dict[JobId, list[Item]] = field(default_factory=dict)
    _held: Counter[Epoch] = field(default_factory=Counter)
    _seconds: dict[JobId, float] = field(default_factory=dict)

    def add(self, grants: Iterable[Grant]) -> None:
        """Take new work."""
        for grant in grants:
            queue = self._queued.setdefault(grant.job, deque())
            queue.extend([HeldTask(grant.job, index, attempt, grant.epoch) for index, attempt in grant.tasks])
            self._held[grant.epoch] += len(grant.tasks)

    def jobs(self) -> list[JobId]:
        """Jobs with queued tasks, oldest first."""
        return [job for job, queue in self._queued.items() if queue]

    def take(self, job: JobId, most: int) -> list[HeldTask]:
        """Move up to ``most`` queued tasks of a job to running."""
        queue = self._queued.get(job, deque())
        taken = [queue.popleft() for _ in range(min(most, len(queue)))]
        if taken:
            self._running.setdefault(job, {}).update([(task[1:3], task) for task in taken])
        return taken

    def give_back(self, tasks: Iterable[HeldTask]) -> None:
        """Running tasks that were not started go back to the head of the queue."""
        for task in reversed(list(tasks)):
            if self._running.get(task.job, {}).pop((task.index, task.attempt), None) is not None:
                self._queued.setdefault(task.job, deque()).appendleft(task)

    def finish(self, job: JobId, items: Iterable[Item]) -> None:
        """Running or queued tasks ended; those that are no longer held are dropped."""
        running, held = self._running.get(job, {}), self._held
        done: list[Item] = []
        seconds: list[float] = []
        for item in items:
            task = running.pop(item[:2], None)
            if task is None or task.epoch not in held:
                continue
            done.append(item if item.epoch == task.epoch else item._replace(epoch=task.epoch))
            if item.outcome is Outcome.RESULT:
                seconds.append(item.seconds)
        if done:
            self._outbox.setdefault(job, []).extend(done)
        if seconds:
            self._learn(job, seconds)

    def stop_all(self, reason: str) -> None:
        """Everything that is queued or running is handed back unfinished."""
        for job in [*self._queued]:
            self.take(job, len(self._queued[job]))
        for job, running in self._running.items():
            stopped = [Item(*key, task.epoch, Outcome.STOPPED, reason=reason) for key, task in running.items()]
            self.finish(job, stopped)

    def drop(self, epochs: Iterable[Epoch]) -> set[JobId]:
        """Forget leases that are lost; the jobs in which a task of theirs is running."""
        lost = set(epochs)
        for epoch in lost:
            self._held.pop(epoch, None)
        for job, queue in self._queued.items():
            self._queued[job] = deque(task for task in queue if task.epoch not in lost)
        for job, items in self._outbox.items():
            self._outbox[job] = [item for item in items if item.epoch not in lost]
        stopped = set()
        for job, running in self._running.items():
            kept = {key: task for key, task in running.items() if task.epoch not in lost}
            if len(kept) < len(running):
                self._running[job] = kept
                stopped.add(job)
        self._forget_empty()
        return stopped

    def take_outbox(self, most: int, most_bytes: int) -> dict[JobId, list[Item]]:
        """Finished items to send now, by job; they are held until ``sent`` or ``unsent``.

        At least one is taken, however large.
        """
        taken: dict[JobId, list[Item]] = {}
        self._forget_empty()
        for job, items in self._outbox.items():
            count = 0
            for item in items[:most]:
                most_bytes -= len(item.payload) + len(item.log) + len(item.detail)
                if most_bytes < 0 and (count or taken):
                    break
                count += 1
            if count:
                taken[job], self._outbox[job] = items[:count], items[count:]
                most -= count
        return taken

    def sent(self, batches: Iterable[tuple[JobId, Iterable[Item]]]) -> None:
        """The scheduler has them: their tasks are no longer held."""
        for _, items in batches:
            for epoch, count in Counter(map(_EPOCH, items)).items():
                if epoch in self._held:
                    self._held[epoch] -= count
                    if self._held[epoch] <= 0:
                        del self._held[epoch]

    def unsent(self, batches: Iterable[tuple[JobId, Iterable[Item]]]) -> None:
        """They did not arrive: send them again, first."""
        for job, items in batches:
            again = [item for item in items if item.epoch in self._held]
            self._outbox[job] = again + self._outbox.get(job, [])

    def held(self) -> tuple[Epoch, ...]:
        """Epochs of everything that is not yet with the scheduler."""
        return tuple(self._held)

    def active_jobs(self) -> set[JobId]:
        """Jobs with queued or running tasks."""
        return {job for tasks in (self._queued, self._running) for job, held in tasks.items() if held}

    def is_running(self, job: JobId, index: int, attempt: int) -> bool:
        """Whether what comes of this attempt is still wanted."""
        return (index, attempt) in self._running.get(job, ())

    @property
    def unfinished(self) -> int:
        """Tasks that are queued or running."""
        return sum(map(len, self._running.values())) + sum(map(len, self._queued.values()))

    @property
    def to_send(self) -> int:
        """Finished items that wait to be sent."""
        return sum(map(len, self._outbox.values()))

    def wanted(self) -> int:
        """How many more tasks to ask for; 0 while enough is here."""
        enough, unfinished = self._enough(), self.unfinished
        return enough - unfinished if unfinished <= enough // 2 or unfinished < self.slots else 0

    def expected_seconds(self) -> float:
        """How long everything that is here will take, if it is like what was seen before; endless if nothing was."""
        if not self._seconds:
            return inf
        latest = next(reversed(self._seconds.values()))
        counts = Counter({job: len(running) for job, running in self._running.items()})
        counts.update({job: len(queue) for job, queue in self._queued.items()})
        return sum(count * self._seconds.get(job, latest) for job, count in counts.items()) / self.slots

    def chunk(self, job: JobId) -> int:
        """How many tasks to hand a runner at once: about a fifth of the target, at least one."""
        seconds = self._seconds.get(job)
        if seconds is None:
            return 1
        return max(1, min(self.grant_tasks, int(self.target_seconds / 5 / max(seconds, 1e-6))))

    def _forget_empty(self) -> None:
        """Jobs come and go for months."""
        self._queued = {job: queue for job, queue in self._queued.items() if queue}
        self._running = {job: running for job, running in self._running.items() if running}
        self._outbox = {job: items for job, items in self._outbox.items() if items}

    def _enough(self) -> int:
        known = [self._seconds[job] for job in self.active_jobs() if job in self._seconds]
        known = known or list(self._seconds.values())[-1:]
        if not known or max(known) >= _LONG_SECONDS:
            return self.slots
        per_slot = int(self.target_seconds / max(*known, 1e-5))
        return max(2 * self.slots, min(self.grant_tasks, per_slot * self.slots))

    def _learn(self, job: JobId, seconds: Sequence[float]) -> None:
        """What came last counts most."""
        learnt = self._seconds.pop(job, seconds[0])
        for taken in seconds[-_LEARNT_TASKS:]:
            learnt += _SMOOTHING * (taken - learnt)
        self._seconds[job] = learnt
        if len(self._seconds) > 64:
            del self._seconds[next(iter(self._seconds))]
