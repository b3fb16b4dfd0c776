"""From the tasks and attempts of effects to the runs that a tick writes.

A run with something that changes is replaced by what is left of it and what is new.  Runs that the tick did not see are
read first; their jobs are locked already.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from operator import itemgetter

from corpgrid.domain.attempt import Attempt
from corpgrid.domain.effects import Effects
from corpgrid.domain.ids import DeviceId, JobId
from corpgrid.domain.job import TaskState
from corpgrid.errors import StoreError
from corpgrid.stores.postgres.database import Columns, Session
from corpgrid.stores.postgres.load import Held
from corpgrid.stores.postgres.pieces import (
    attempt_runs,
    attempts_by_key,
    cut,
    provided,
    rewritten,
    task_runs,
    tasks_by_key,
)
from corpgrid.stores.postgres.rows import one_column
from corpgrid.stores.postgres.runs import AttemptRun, TaskRun
from corpgrid.stores.postgres.spans import Span, ends, spans
from corpgrid.stores.rows import INDEX_BITS, LAST_NUMBER

_NUMBER = itemgetter(2)


class Changes:
    """One tick's.

    Args:
        session: of the tick.
        held: what it read.
        effects: what it changes.
        jobs: numbers of the jobs that it changes.
        devices: numbers of the devices that its rows name.
        fresh: runs of all tasks of its new jobs.
        final: jobs whose provisional tasks become final, and their revs, by number.
    """

    def __init__(  # noqa: PLR0913 - what changes stand on, by name
        self,
        session: Session,
        held: Held,
        effects: Effects,
        *,
        jobs: Mapping[JobId, int],
        devices: Mapping[DeviceId, int],
        fresh: Sequence[TaskRun],
        final: Mapping[int, int],
    ) -> None:
        self._session = session
        self._effects = effects
        self._jobs = jobs
        self._devices = devices
        self._fresh = fresh
        self._final = final
        self._tasks = list(held.tasks.values())
        self._attempts = list(held.attempts)

    async def parts(self) -> dict[str, Columns]:
        """Parameters of the statements that write them, by name."""
        return {**await self._attempt_parts(), **await self._task_parts()}

    async def _attempt_parts(self) -> dict[str, Columns]:
        new, changed = self._attempts_by_key()
        if not (new or changed):
            return {}
        keys = sorted(changed)
        old, left, missing = cut(self._attempts, keys)
        if missing:
            self._attempts += await self._read_attempts(spans(missing))
            old, left, missing = cut(self._attempts, keys)
            _require("attempts", missing)
        written = [*left, *attempt_runs({**changed, **new}, self._devices)]
        gone = {run.last for run in old}
        self._attempts = [*(run for run in self._attempts if run.last not in gone), *written]
        rows = rewritten(old, written)
        return {
            "taken_attempts": ends(spans(sorted(new))) if new else (),
            "put_attempts": one_column(run.values() for run in rows.put),
            "add_attempts": one_column(run.values() for run in rows.add),
            "drop_attempts": [rows.drop] if rows.drop else (),
        }

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

    async def _task_parts(self) -> dict[str, Columns]:
        tasks = tasks_by_key(self._effects.tasks, self._jobs)
        if not (tasks or self._fresh or self._final):
            return {}
        keys = sorted(tasks)
        begun, remains, keys = cut(self._fresh, keys)
        untouched = [run for run in self._fresh if run not in begun]
        old, left, missing = cut(self._tasks, keys)
        if missing:
            self._tasks += await self._read_tasks(spans(missing))
            old, left, missing = cut(self._tasks, keys)
            _require("tasks", missing)
        written = await self._provided(task_runs(tasks))
        rows = rewritten(old, map(self._finalised, chain(left, remains, untouched, written)))
        replaced = [*(run.last for run in rows.put), *rows.drop]
        return {
            "finalise": [list(self._final), list(self._final.values()), replaced] if self._final else (),
            "put_tasks": one_column(run.values() for run in rows.put),
            "add_tasks": one_column(run.values() for run in rows.add),
            "drop_tasks": [rows.drop] if rows.drop else (),
        }

    def _finalised(self, run: TaskRun) -> TaskRun:
        rev = self._final.get(run.last >> INDEX_BITS)
        if rev is None or run.state is not TaskState.PROVISIONAL:
            return run
        return run._replace(state=TaskState.FINAL, final_rev=rev)

    async def _provided(self, runs: Sequence[TaskRun]) -> list[TaskRun]:
        """The same tasks with the devices whose results are accepted."""
        known = sorted(self._attempts)
        found, unknown = provided(runs, known)
        if unknown:
            found, _ = provided(runs, sorted([*known, *await self._read_attempts(unknown)]))
        return found

    async def _read_tasks(self, wanted: Iterable[Span]) -> list[TaskRun]:
        known = {run.last for run in self._tasks}
        rows = await self._session.rows("tasks", [], [], 0, *ends(wanted))
        return [run for run in (TaskRun.of(row[1:]) for row in rows) if run.last not in known]

    async def _read_attempts(self, wanted: Iterable[Span]) -> list[AttemptRun]:
        known = {run.last for run in self._attempts}
        rows = await self._session.rows("attempts", *ends(wanted))
        return [run for run in map(AttemptRun.of, rows) if run.last not in known]


def _require(kind: str, missing: Sequence[int]) -> None:
    if missing:
        raise StoreError(f"{len(missing):,} {kind} that change are not in the store")
