"""I9: nobody is given more than they asked for, within the window of what is in flight.

* In one commit a device is given at most what one of its polls under way wants, and never more than ``grant_tasks``.  A
  poll is under way while a scheduler works on it; one that its sender gave up may be in a tick still, and counts for a
  few seconds more.
* A reply grants at most what its poll wanted.
* A task fails at most ``max_attempts`` times.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Callable

from corpgrid.domain.effects import Effects
from corpgrid.domain.ids import DeviceId, task_text
from corpgrid.domain.messages import PollReply, PollRequest
from corpgrid.sim.invariants import Invariants

_WINDOW_SECONDS = 5.0


class Quotas:
    """What was asked for, and what was given.

    Args:
        rows: what was committed before.
        fail: told of each violation.
        grant_tasks: the most tasks in one grant.
    """

    def __init__(self, rows: Invariants, fail: Callable[[str], None], *, grant_tasks: int) -> None:
        self._rows = rows
        self._fail = fail
        self._most = grant_tasks
        self._under_way: defaultdict[DeviceId, Counter[int]] = defaultdict(Counter)
        self._ended: deque[tuple[float, DeviceId, int]] = deque()

    def asked(self, poll: PollRequest) -> None:
        """A scheduler begins to work on a poll."""
        self._under_way[poll.status.device][poll.wanted] += 1

    def answered(self, poll: PollRequest, *, at: float) -> None:
        """That ended, well or not."""
        self._ended.append((at, poll.status.device, poll.wanted))
        while self._ended[0][0] < at - _WINDOW_SECONDS:
            _, device, wanted = self._ended.popleft()
            polls = self._under_way[device]
            polls[wanted] -= 1
            if not polls[wanted]:
                del polls[wanted]

    def heard(self, poll: PollRequest, reply: PollReply) -> None:
        """An agent was given work."""
        given = sum(len(grant.tasks) for grant in reply.grants)
        if given > min(poll.wanted, self._most):
            self._fail(f"I9: {poll.status.device} wanted {poll.wanted} tasks, and got {given}")

    def committed(self, effects: Effects) -> None:
        """A tick was committed."""
        for device, given in Counter(attempt.device for attempt in effects.new_attempts).items():
            wanted = max(self._under_way[device], default=0)
            if given > min(wanted, self._most):
                self._fail(f"I9: {device} is given {given} tasks at once, and wants {wanted}")
        for task in effects.tasks:
            most = self._rows.jobs[task.job].spec.limits.max_attempts if task.job in self._rows.jobs else 0
            if most and task.failures > most:
                self._fail(f"I9: {task_text((task.job, task.index))} failed {task.failures} times, of {most} at most")
