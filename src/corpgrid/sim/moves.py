"""The moves that one tick may make: several steps of a state chart at once."""

from __future__ import annotations

from corpgrid.domain.attempt import ATTEMPT_MOVES, AttemptState
from corpgrid.domain.job import TASK_MOVES, TaskState


def can_become(old: AttemptState, new: AttemptState) -> bool:
    """Whether a tick may leave an attempt so: it may have made two moves at once."""
    moves = ATTEMPT_MOVES[old]
    return old is new or new in moves or any(new in ATTEMPT_MOVES[between] for between in moves)


def can_follow(old: TaskState, new: TaskState) -> bool:
    """Whether a tick may leave a task so: it may be granted, returned and judged at once."""
    return new in _FOLLOWS[old]


def _reachable(start: TaskState) -> frozenset[TaskState]:
    """The states that can be reached by any number of steps."""
    reached, edge = {start}, {start}
    while edge:
        edge = {after for state in edge for after in TASK_MOVES[state]} - reached
        reached |= edge
    return frozenset(reached)


_FOLLOWS = {state: _reachable(state) for state in TaskState}
