"""What a runner has done of what it was given: a pure account, kept from its frames and its log.

* Tasks run in the order in which they were given, so the first one without a mark in the log is the one that runs now.
* A task is finished when both its record and its log are here.
* A record of any other task than the one that is due, a result beyond its limit or a frame that is none breaks the
  protocol: ``RunnerError``.  Such a runner is ended; what it said before stands.
* When a runner dies, the task that ran is to blame.  Those after it never started and are handed back; so are those
  that had ended but whose record was lost, unless nobody else is left to blame: every death costs at least one task,
  and nothing can go round for ever.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from corpgrid.agent.logs import LogSplitter, TaskLog
from corpgrid.domain.job import Limits
from corpgrid.domain.messages import Outcome
from corpgrid.errors import MalformedDataError, RunnerError
from corpgrid.wire.frames import Done, Frame, read_done

_TAIL_BYTES = 4 << 10


class RunnerTask(NamedTuple):
    """One attempt for a runner to make.

    Attributes:
        item: the encoded item of the page: a tag byte and a body.
    """

    index: int  # type: ignore[assignment]  # a field, in place of tuple.index
    attempt: int
    item: bytes


class Finished(NamedTuple):
    """How one attempt ended on this device.

    Attributes:
        payload: the encoded result, for the outcome ``result``.
        reason: why there is none; ``detail`` is its story.
        outputs: host folder with the files that it left, or None.  It may hold anything: see ``agent.outputs``.
    """

    index: int  # type: ignore[assignment]  # a field, in place of tuple.index
    attempt: int
    outcome: Outcome
    payload: bytes = b""
    reason: str = ""
    detail: str = ""
    seconds: float = 0.0
    log: bytes = b""
    log_dropped: int = 0
    outputs: Path | None = None


class Verdict(NamedTuple):
    """Why a runner ended.

    Attributes:
        outcome: of the task that ran; None blames nobody, and hands that task back too.
        reason: a short name.
        detail: the story.
    """

    outcome: Outcome | None
    reason: str
    detail: str


class Progress:
    """The account of one runner.

    Args:
        nonce: of the marks in its log.
        limits: of each task.
        work: host folder that the runner sees as ``/work``.
    """

    def __init__(self, *, nonce: bytes, limits: Limits, work: Path) -> None:
        self._limits = limits
        self._work = work
        self._splitter = LogSplitter(nonce=nonce, log_bytes=limits.log_bytes)
        self._unrecorded: deque[RunnerTask] = deque()
        self._records: deque[Done] = deque()
        self._logs: deque[TaskLog] = deque()
        self._finished: list[Finished] = []
        self.untaken_bytes = 0

    def give(self, tasks: Iterable[RunnerTask]) -> None:
        """The runner gets these, after those that it has."""
        for task in tasks:
            self._unrecorded.append(task)
            self._splitter.expect(task.index, task.attempt)

    @property
    def idle(self) -> bool:
        """Whether everything given is finished."""
        return not self._unrecorded and not self._records

    @property
    def untaken(self) -> bool:
        """Whether ``take`` has anything to give."""
        return bool(self._finished)

    @property
    def waits_for_log(self) -> bool:
        """Whether a record is here whose mark is not."""
        return bool(self._records)

    def on_done(self, frame: Frame) -> None:
        """A ``done`` frame came.

        Raises:
            RunnerError: it does not say what a runner may say.
        """
        try:
            records = read_done(frame)
        except MalformedDataError as cause:
            raise RunnerError(str(cause)) from None
        self._take_records(records)
        self._match()

    def on_log(self, data: bytes) -> bool:
        """Bytes of the log came; whether any task ended with them."""
        logs = self._splitter.feed(data)
        self._logs.extend(logs)
        self._match()
        return bool(logs)

    def take(self) -> list[Finished]:
        """What finished since the last call."""
        taken, self._finished = self._finished, []
        self.untaken_bytes = sum(len(record.payload) for record in self._records)
        return taken

    def end(self, verdict: Verdict) -> list[RunnerTask]:
        """The runner is gone and all that it said is here: the tasks that never started."""
        while self._records:  # their marks never came
            self._finish([(self._records.popleft(), self._splitter.finish())])
        if verdict.outcome is not None and self._unrecorded:
            self._blame(verdict.outcome, verdict)
        left = list(self._unrecorded)
        self._unrecorded.clear()
        return left

    def _take_records(self, records: Iterable[Done]) -> None:
        # By position, here and below: this is done for every task, and names cost as much again.
        unrecorded, result_bytes = self._unrecorded, self._limits.result_bytes
        for record in records:
            if not unrecorded or record[:2] != unrecorded[0][:2]:
                index, attempt = record[:2]
                raise RunnerError(f"it reports task {index}, attempt {attempt}, which is not the one it runs")
            if len(record[3]) > result_bytes:
                raise RunnerError(f"it sends a result of {len(record.payload):,} bytes beyond result_bytes")
            unrecorded.popleft()
            self._records.append(record)
            self.untaken_bytes += len(record.payload)

    def _match(self) -> None:
        whole = min(len(self._records), len(self._logs))
        self._finish([(self._records.popleft(), self._logs.popleft()) for _ in range(whole)])

    def _finish(self, ended: Iterable[tuple[Done, TaskLog]]) -> None:
        finished, result, failed = self._finished, Outcome.RESULT, Outcome.FAILED
        for record, (log, dropped) in ended:
            index, attempt, ok, payload, reason, detail, seconds, has_outputs = record
            outcome = result if ok else failed
            outputs = self._work / f"task-{index}-{attempt}" if has_outputs else None
            self.untaken_bytes += len(log)
            finished.append(Finished(index, attempt, outcome, payload, reason, detail, seconds, log, dropped, outputs))

    def rest_of_log(self) -> TaskLog:
        """What was printed since the last task ended, when nothing more will come."""
        return self._splitter.finish()

    def _blame(self, outcome: Outcome, verdict: Verdict) -> None:
        """End the task that ran: the first without a mark, or the last of all if every one has its mark."""
        position = min(len(self._logs), len(self._unrecorded) - 1)
        task = self._unrecorded[position]
        del self._unrecorded[position]
        log = self._logs[position] if position < len(self._logs) else self._splitter.finish()
        self._finished.append(
            Finished(
                index=task.index,
                attempt=task.attempt,
                outcome=outcome,
                reason=verdict.reason,
                detail=story(log, verdict.detail),
                log=log.kept,
                log_dropped=log.dropped,
            )
        )


def story(log: TaskLog, end: str) -> str:
    """The end of a log, and how it ended."""
    tail = log.kept[-_TAIL_BYTES:].decode(errors="replace").strip("\n")
    return f"{tail}\n{end}" if tail else end
