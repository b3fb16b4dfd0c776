"""A client in the storm: submits jobs all the time, reads their results, and writes down all that it is told.

It may be killed at any moment.  The next one of its name reads what it wrote, and goes on with the jobs that the grid
had acknowledged.  Whether the one that was being submitted arrived nobody knows; nobody submits it again.  Once there
is a file ``--stop`` it submits no more, and ends when all its jobs have ended.

    python -m benchmarks.storm.client --name client-1 --address A,B --key KEY --journal FILE --stop FILE --seed 1
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.storm import journal
from benchmarks.storm.journal import Journal
from benchmarks.storm.work import JobKind, Order, written

from corpgrid.config import ClientConfig
from corpgrid.domain.job import JobState, TaskState
from corpgrid.errors import CorpGridError, OverloadedError, UnavailableError
from corpgrid.sdk.client import Grid, connect
from corpgrid.sdk.job import Job

_TEMPERS = ((1.0, 8), (3.0, 1), (12.0, 1))
"""How long a client waits for an answer, and how many jobs it submits before it reads results.

Who is hasty and impatient often never learns whether a job was taken.
"""
_PAUSE_SECONDS = 0.2
_CANCEL_SECONDS = 0.7
_PASSING = (UnavailableError, OverloadedError)
"""What a storm may do to a call; anything else is noted with its name, and judged."""


class Client:
    """One submitter."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._call_seconds, self._burst = _TEMPERS[options.temper % len(_TEMPERS)]
        self._journal = Journal(options.journal)
        lines = journal.read(options.journal)
        orders = {line["name"]: Order.read(line) for line in lines if line["what"] == journal.SUBMITTING}
        ended = {line["job"] for line in lines if line["what"] == journal.ENDED}
        told = {line["job"]: line["name"] for line in lines if line["what"] == journal.SUBMITTED}
        self._left = [(orders[name], job) for job, name in told.items() if job not in ended]
        self._taken = len(orders)

    def run(self) -> None:
        """Until it shall stop, and then to the end of what was begun."""
        with self._insist(self._connect) as grid:
            for order, job in self._left:
                self._attend(grid, order, job)
            while not self._options.stop.exists():
                begun = [(order, self._submit(grid, order)) for order in map(self._draw, range(self._burst))]
                for order, job in begun:
                    if job:
                        self._attend(grid, order, job)

    def _draw(self, _: int) -> Order:
        """What to do next."""
        self._taken += 1
        name = f"{self._options.name}/{self._taken}"
        return Order.draw(name, Random(f"{self._options.seed}/{name}"))

    def _connect(self) -> Grid:
        config = ClientConfig(timeout_seconds=self._call_seconds)
        return connect(self._options.address, key=self._options.key, config=config)

    def _submit(self, grid: Grid, order: Order) -> str:
        """The job's name; empty if nobody answered."""
        self._journal.note(journal.SUBMITTING, **order.facts())
        try:
            job = grid.map(order.function, order.items(), **order.options())
        except CorpGridError as error:
            self._trouble(error)
            return ""
        self._journal.note(journal.SUBMITTED, name=order.name, job=job.id)
        return str(job.id)

    def _attend(self, grid: Grid, order: Order, name: str) -> None:
        """See a job to its end; one that the grid denies is left as it is, and judged."""
        try:
            self._see_to_its_end(grid, order, name)
        except CorpGridError as error:
            self._trouble(error)

    def _see_to_its_end(self, grid: Grid, order: Order, name: str) -> None:
        job = self._insist(lambda: grid.job(name))
        if order.kind is JobKind.CANCELLED:
            time.sleep(_CANCEL_SECONDS)
            self._insist(job.cancel)
            self._journal.note(journal.CANCELLED, job=name)
        state = self._insist(lambda: self._read(job))
        self._journal.note(journal.ENDED, job=name, state=state.value)

    def _read(self, job: Job[Any]) -> JobState:
        """All results, from the first on."""
        self._journal.note(journal.READING, job=job.id)
        for result in job.raw_results():
            facts: dict[str, Any] = {"job": job.id, "index": result.index, "state": result.state.value}
            if result.state is TaskState.FINAL:
                facts["value"] = written(job.decode(result))
            elif result.state is TaskState.FAILED:
                facts["reason"] = result.reason
            self._journal.note(journal.RESULT, **facts)
        return job.status().state

    def _insist(self, ask: Any) -> Any:
        """Ask until somebody answers."""
        while True:
            try:
                return ask()
            except _PASSING as error:
                self._trouble(error)
                time.sleep(_PAUSE_SECONDS)

    def _trouble(self, error: CorpGridError) -> None:
        passing = isinstance(error, _PASSING)
        self._journal.note(journal.TROUBLE, code=error.code, error=str(error)[:500], passing=passing)


def main() -> None:
    """Run one client."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("name", "address", "key"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("journal", "stop"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--temper", type=int, default=1)
    Client(parser.parse_args()).run()


if __name__ == "__main__":
    main()
