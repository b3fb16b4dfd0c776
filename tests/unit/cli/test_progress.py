"""What is told of a running job, and what when nothing moves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from corpgrid.cli import progress
from corpgrid.cli.progress import summary, watch_job
from corpgrid.domain.answers import Explanation
from corpgrid.domain.job import Counts, Job, JobState
from tests.unit.cli.test_render import JOBS

RUNNING = replace(JOBS[0], counts=Counts(ready=4), tasks=4, audits=0, mismatches=0)
DONE = replace(RUNNING, counts=Counts(final=4), state=JobState.DONE, finished_at=1.0)


class Clock:
    """Stands where it is set."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def monotonic(self) -> float:
        return self.seconds


class Handle:
    """A job whose rows come at known moments."""

    def __init__(self, clock: Clock, rows: list[tuple[float, Job]]) -> None:
        self.asked = 0
        self._clock = clock
        self._rows = rows

    def wait(self, *, progress: Callable[[Job], None] | None = None) -> Job:
        for seconds, row in self._rows:
            self._clock.seconds = 100.0 + seconds
            if progress is not None:
                progress(row)
        return self._rows[-1][1]

    def why(self) -> Explanation:
        self.asked += 1
        return Explanation(f"4 want a device \x1b[5m({self.asked})")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def watched(clock: Clock, rows: list[tuple[float, Job]], *, quiet: bool = False) -> Handle:
    handle: Any = Handle(clock, rows)
    assert watch_job(handle, quiet=quiet) is rows[-1][1]
    found: Handle = handle
    return found


def test_how_far_a_job_is() -> None:
    assert summary(JOBS[0]) == "288/1000 final, 10 ready, 2 leased, 700 provisional, 90 audits, 1 mismatches"


def test_a_pipe_gets_a_plain_line_when_something_changed(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    leased = replace(RUNNING, counts=Counts(ready=2, leased=2))
    watched(clock, [(0, RUNNING), (0.5, leased), (1, leased), (2.5, leased), (3, leased), (4.9, DONE)])
    assert capsys.readouterr().err.splitlines() == [
        f"{RUNNING.id}: 0/4 final, 4 ready",
        f"{RUNNING.id}: 0/4 final, 2 ready, 2 leased",
        f"{RUNNING.id}: 4/4 final",
    ]


def test_where_nothing_moves_it_says_why(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    handle = watched(clock, [(0, RUNNING), (3, RUNNING), (5.5, RUNNING), (6, RUNNING), (11, RUNNING), (14, DONE)])
    assert handle.asked == 2, "asked again only after a while"
    assert capsys.readouterr().err.splitlines() == [
        f"{RUNNING.id}: 0/4 final, 4 ready",
        f"{RUNNING.id}: 4 want a device \\x1b[5m(1)",
        f"{RUNNING.id}: 4 want a device \\x1b[5m(2)",
        f"{RUNNING.id}: 4/4 final",
    ]


def test_programs_are_told_nothing(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    watched(clock, [(0, RUNNING), (10, RUNNING), (20, DONE)], quiet=True)
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "")


def test_a_terminal_gets_a_bar(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: True)
    watched(clock, [(0, RUNNING), (1, DONE)])
    assert capsys.readouterr().out == ""
