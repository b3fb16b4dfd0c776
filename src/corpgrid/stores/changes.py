"""From the tasks and attempts of effects to the runs that a tick writes.

A run with something that changes is replaced by what is left of it and what is new.  Runs that the tick did not see are
asked for (``Changes.rows`` yields what it wants); nobody else may change them meanwhile.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from itertools import chain
from operator import itemgetter
from typing import NamedTuple

from corpgrid.domain.attempt import Attempt
from corpgrid.domain.effects import Effects
from corpgrid.domain.ids import DeviceId, JobId
from corpgrid.domain.job import Task, TaskState
from corpgrid.errors import StoreError
from corpgrid.stores.pieces import (
    Rewritten,
    Run,
    attempt_runs,
    attempts_by_key,
    cut,
    provided,
    rewritten,
    task_runs,
    tasks_by_key,
)
from corpgrid.stores.rows import INDEX_BITS, LAST_NUMBER
from corpgrid.stores.runs import AttemptRun, TaskRun
from corpgrid.stores.spans import Span, spans

_NUMBER = itemgetter(2)


class Wanted(NamedTuple):
    """Runs that are asked for: those with tasks, or with attempts, with these keys."""

    tasks: Sequence[Span] = ()
    attempts: Sequence[Span] = ()


class Written(NamedTuple):
    """What becomes of rows.

    Attributes:
        new: the keys of attempts that no row may have yet.
    """

    tasks: Rewritten[TaskRun] = Rewritten([], [], [])
    attempts: Rewritten[AttemptRun] = Rewritten([], [], [])
    new: Sequence[Span] = ()


Found = tuple[Sequence[TaskRun], Sequence[AttemptRun]]
"""The runs that were asked for; some may be known already."""


class Changes:
    """One tick's.

    Args:
        effects: what it changes.
        tasks: runs that it read.
        attempts: runs that it read.
        jobs: numbers of the jobs that it changes.
        devices: numbers of the devices that its rows name.
        fresh: runs of all tasks of its new jobs.
        final: jobs whose provisional tasks become final, and their revs, by number.
    """

    def __init__(  # noqa: PLR0913 - what changes stand on, by name
        self,
        effects: Effects,
        *,
        tasks: Iterable[TaskRun],
        attempts: Iterable[AttemptRun],
        jobs: Mapping[JobId, int],
        devices: Mapping[DeviceId, int],
        fresh: Sequence[TaskRun],
        final: Mapping[int, int],
    ) -> None:
        self._effects = effects
        self._jobs = jobs
        self._devices = devices
        self._fresh = fresh
        self._final = final
        self._tasks = list(tasks)
        self._attempts = list(attempts)

    def rows(self) -> Generator[Wanted, Found, Written]:
        """What to write; asks for runs on the way.

        Raises:
            StoreError: what changes is not there, or what is new is given twice.
        """
        new, changed = self._attempts_by_key()
        attempts = (yield from self._attempt_rows(new, changed)) if new or changed else Written().attempts
        tasks = tasks_by_key(self._effects.tasks, self._jobs)
        written = (yield from self._task_rows(tasks)) if tasks or self._fresh or self._final else Written().tasks
        return Written(written, attempts, spans(sorted(new)))

    def _attempt_rows(
        self, new: dict[int, Attempt], changed: dict[int, Attempt]
    ) -> Generator[Wanted, Found, Rewritten[AttemptRun]]:
        keys = sorted(changed)
        old, left, missing = cut(self._attempts, keys)
        if missing:
            yield from self._read(Wanted(attempts=spans(missing)))
            old, left, missing = cut(self._attempts, keys)
            _require("attempts", missing)
        written = [*left, *attempt_runs({**changed, **new}, self._devices)]
        gone = {run.last for run in old}
        self._attempts = [*(run for run in self._attempts if run.last not in gone), *written]
        return rewritten(old, written)

    def _attempts_by_key(self) -> tuple[dict[int, Attempt], dict[int, Attempt]]:
        """Those that are new, and others; of two with one key the last counts."""
        effects, jobs = self._effects, self._jobs
        if max(map(_NUMBER, chain(effects.new_attempts, effects.attempts)), default=0) > LAST_NUMBER:
            raise StoreError(f"a task has more than {LAST_NUMBER + 1:,} attempts")
        new, changed = (attempts_by_key(rows, jobs) for rows in (effects.new_attempts, effects.attempts))
        if len(new) < len(effects.new_attempts):
            raise StoreError("an attempt that is new is given twice")
        if not new.keys().isdisjoint(changed):
            new.update((key, changed.pop(key)) for key in list(changed) if key in new)
        return new, changed

    def _task_rows(self, tasks: dict[int, Task]) -> Generator[Wanted, Found, Rewritten[TaskRun]]:
        begun, remains, keys = cut(self._fresh, sorted(tasks))
        untouched = [run for run in self._fresh if run not in begun]
        old, left, missing = cut(self._tasks, keys)
        if missing:
            yield from self._read(Wanted(tasks=spans(missing)))
            old, left, missing = cut(self._tasks, keys)
            _require("tasks", missing)
        runs = task_runs(tasks)
        written, unknown = provided(runs, sorted(self._attempts))
        if unknown:
            yield from self._read(Wanted(attempts=unknown))
            written, _ = provided(runs, sorted(self._attempts))
        return rewritten(old, map(self._finalised, chain(left, remains, untouched, written)))

    def _read(self, wanted: Wanted) -> Generator[Wanted, Found, None]:
        tasks, attempts = yield wanted
        self._tasks = _joined(self._tasks, tasks)
        self._attempts = _joined(self._attempts, attempts)

    def _finalised(self, run: TaskRun) -> TaskRun:
        rev = self._final.get(run.last >> INDEX_BITS)
        if rev is None or run.state is not TaskState.PROVISIONAL:
            return run
        return run._replace(state=TaskState.FINAL, final_rev=rev)


def _require(kind: str, missing: Sequence[int]) -> None:
    if missing:
        raise StoreError(f"{len(missing):,} {kind} that change are not in the store")


def _joined(known: list[Run], more: Iterable[Run]) -> list[Run]:
    return list({run.last: run for run in chain(more, known)}.values())
