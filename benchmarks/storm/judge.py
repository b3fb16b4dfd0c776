"""What everybody wrote down, held against what the store has and against what each task must give.

* lost: somebody was told that the grid has it, and it has not.
* doubled: one request is two jobs, or one task gave two results.
* wrong: a value that is not the task's, wherever it stands.

All of these are violations, and so is whatever ``History`` finds in the rows.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from benchmarks.storm import journal
from benchmarks.storm.journal import Book, Line
from benchmarks.storm.work import JobKind, Order, written

from corpgrid.domain.device import DeviceState
from corpgrid.domain.ids import JobId, task_text
from corpgrid.domain.job import JobState, TaskState
from corpgrid.ports.blobs import Blobs
from corpgrid.ports.store import Store
from corpgrid.sim.history import History
from corpgrid.sim.promises import Promises
from corpgrid.trust.digest import digest
from corpgrid.trust.keys import Keyring
from corpgrid.wire import data

_TRACE = "Traceback (most recent call last)"
_RECORD = re.compile(r"^(?:\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} |(?=Exception in callback ))", re.MULTILINE)
_NOISY = ("WARNING asyncpg.", "Exception in callback PollerCompletionQueue")
"""asyncpg's pool when it cannot connect; gRPC when it is told of a call of a loop that was closed."""


class Judge:
    """Compares, and counts what it finds.

    Attributes:
        violations: one line each, the rule first.
    """

    def __init__(self) -> None:
        self.violations: list[str] = []
        self.counts: Counter[str] = Counter()

    def fail(self, violation: str) -> None:
        """Something that must hold does not."""
        self.violations.append(violation)

    def lost(self, violation: str) -> None:
        """What was acknowledged is not there."""
        self.counts["lost"] += 1
        self.fail(violation)

    def doubled(self, violation: str) -> None:
        """Something is there twice."""
        self.counts["doubled"] += 1
        self.fail(violation)

    def wrong(self, violation: str) -> None:
        """A value is not what it must be."""
        self.counts["wrong"] += 1
        self.fail(violation)

    async def everything(
        self, store: Store, blobs: Blobs, keyring: Keyring, *, clients: Sequence[Book], agents: Sequence[Book]
    ) -> History:
        """All rows, all blobs and all journals, after all processes have ended."""
        history = await History.of(store, keyring, fail=self.fail)
        history.check()
        history.check_ended()
        await history.check_blobs(store, blobs)
        Promises(history, self.fail).audited()
        orders = orders_of(clients)
        self.stored(history, orders)
        for book in clients:
            self.client(book, history, orders)
        for book in agents:
            self.agent(book, history)
        for device in history.devices.values():
            if device.state is not DeviceState.ACTIVE:
                self.fail(f"V7: {device.name} is honest, and {device.state}: {device.reason}")
        return history

    # -- what the store has

    def stored(self, history: History, orders: Mapping[str, Order]) -> None:
        """Every job is one that somebody ordered, once; every task ended as it must, with the right value."""
        jobs = Counter(known.row.name for known in history.jobs.values())
        for name, times in jobs.items():
            if name not in orders:
                self.fail(f"I1: nobody ordered the job {name!r}")
            elif times > 1:
                self.doubled(f"I1: the job {name!r} was ordered once and is in the store {times} times")
        for job, known in history.jobs.items():
            order = orders.get(known.row.name)
            for index in range(known.row.tasks if order is not None else 0):
                assert order is not None
                self._stored_task(history, job, order, index)

    def _stored_task(self, history: History, job: JobId, order: Order, index: int) -> None:
        task = history.jobs[job].task(index)
        where = f"task {task_text((job, index))} of {order.name}, a {order.kind} job,"
        if not order.may_end(index, task.state):
            self.lost(f"L1: {where} is {task.state} ({task.reason})")
        elif task.state is TaskState.FINAL:
            found = history.digest_of(job, index)
            if found is None:
                self.lost(f"I4: {where} is final, and has no result")
            elif found != digest(data.encode(order.truth(index))):
                self.wrong(f"C1: {where} has a wrong result")

    # -- what clients were told

    def client(self, lines: Book, history: History, orders: Mapping[str, Order]) -> None:
        """One client's journal."""
        names: dict[str, str] = {}
        told: defaultdict[str, dict[int, Line]] = defaultdict(dict)
        seen: set[tuple[str, int]] = set()
        for line in lines:
            what = line["what"]
            if what == journal.SUBMITTED:
                names[line["job"]] = line["name"]
                self._submitted(line, history)
            elif what == journal.READING:
                seen = {key for key in seen if key[0] != line["job"]}
            elif what == journal.RESULT:
                if (line["job"], line["index"]) in seen:
                    self.doubled(f"I3: task {line['job']}/{line['index']} was given to one reader twice")
                seen.add((line["job"], line["index"]))
                self._result(line, told[line["job"]], orders[names[line["job"]]], history)
            elif what == journal.CANCELLED:
                self._cancelled(line, history)
            elif what == journal.ENDED:
                self._ended(line, told[line["job"]], history)
            elif what == journal.TROUBLE and not line["passing"]:
                self.fail(f"C2: a client was told {line['code']}: {line['error']}")
        ended = {line["job"] for line in lines if line["what"] == journal.ENDED}
        for job in names.keys() - ended:
            self.lost(f"L1: the job {job} was acknowledged, and its client never saw its end")

    def _submitted(self, line: Line, history: History) -> None:
        known = history.jobs.get(line["job"])
        if known is None:
            self.lost(f"I1: the job {line['job']} ({line['name']}) was acknowledged and is lost")
        elif known.row.name != line["name"]:
            self.wrong(f"I1: the job {line['job']} was acknowledged as {line['name']}, and is {known.row.name}")

    def _result(self, line: Line, told: dict[int, Line], order: Order, history: History) -> None:
        index, state = line["index"], TaskState(line["state"])
        where = f"task {line['job']}/{index} of {order.name}, a {order.kind} job,"
        before = told.setdefault(index, line)
        if _said(before) != _said(line):
            self.wrong(f"I3: {where} was told as {_said(before)}, and later as {_said(line)}")
        if not order.may_end(index, state):
            self.lost(f"L1: {where} was told as {state}: {line.get('reason')}")
        value = line.get("value")
        if state is TaskState.FINAL and value != written(order.truth(index)):
            self.wrong(f"C1: {where} was told as {value}")
        known = history.jobs.get(line["job"])
        now = known.task(index).state if known is not None else None
        if now is not state:
            self.lost(f"I4: {where} was told as {state}, and the store has it as {now}")

    def _cancelled(self, line: Line, history: History) -> None:
        known = history.jobs.get(line["job"])
        if known is None or known.row.state is JobState.RUNNING:
            self.lost(f"I2: the job {line['job']} was said to be ended, and is not")

    def _ended(self, line: Line, told: Mapping[int, Line], history: History) -> None:
        known = history.jobs.get(line["job"])
        if known is None:
            return  # told by ``_submitted``
        if known.row.state != line["state"]:
            self.wrong(f"I2: the job {line['job']} was told as {line['state']}, and is {known.row.state}")
        if len(told) != known.row.tasks:
            self.lost(f"I4: of {known.row.tasks} results of {line['job']} its client was given {len(told)}")

    # -- what devices were told

    def agent(self, lines: Book, history: History) -> None:
        """One agent's journal: as many of its results are kept as it was told."""
        for line in lines:
            if line["what"] == journal.TOLD:
                kept = sum(_is_kept(line, item, history) for item in line["items"])
                if kept < line["received"]:
                    self.lost(f"I4: {line['device']} was told that {line['received']} results count, and {kept} do")

    # -- what programs said

    def log(self, name: str, text: str) -> None:
        """A program's log: no exception that nobody foresaw; a library's warnings are its own affair."""
        for record in _RECORD.split(text):
            if _TRACE in record and not record.startswith(_NOISY):
                head, *rest = record.splitlines()
                last = next((line for line in rest if line and not line.startswith((" ", _TRACE))), "")
                self.fail(f"R1: {name} logged an exception: {head[:200]}: {last[:300]}")


def orders_of(books: Iterable[Book]) -> dict[str, Order]:
    """All orders in clients' journals, by name."""
    lines = (line for book in books for line in book if line["what"] == journal.SUBMITTING)
    return {line["name"]: Order.read(line) for line in lines}


def longest_stall(books: Iterable[Book], *, begun_at: float) -> float:
    """The longest time in which no client was told anything that it wanted to hear, in seconds."""
    times = sorted(line["at"] for book in books for line in book if line["what"] in journal.PROGRESS)
    return max((late - early for early, late in pairwise([begun_at, *times])), default=0.0)


def kinds_of(orders: Mapping[str, Order], names: Iterable[str]) -> dict[str, int]:
    """How many jobs of each kind."""
    counts = Counter(orders[name].kind for name in names if name in orders)
    return {kind.value: counts[kind] for kind in JobKind}


def _said(line: Line) -> tuple[Any, ...]:
    return (line["state"], line.get("reason"), line.get("value"))


def _is_kept(line: Line, item: Sequence[int], history: History) -> bool:
    index, number, epoch = item
    rows = history.attempts.get((line["job"], index), [])
    row = rows[number] if number < len(rows) else None
    return row is not None and row.device == line["device"] and row.epoch == epoch and row.batch in history.batches
