"""Who is to blame when a runner dies, and what is handed back."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpgrid.agent.progress import Progress, RunnerTask, Verdict
from corpgrid.domain.job import Limits
from corpgrid.domain.messages import Outcome
from corpgrid.errors import RunnerError
from corpgrid.wire.frames import Done

NONCE = b"nonce"
DEAD = Verdict(Outcome.CRASHED, "sigsegv", "the runner was ended by SIGSEGV")
TASKS = [RunnerTask(index, index % 3, b"dx") for index in range(6)]


def progress(*tasks: RunnerTask, limits: Limits | None = None) -> Progress:
    made = Progress(nonce=NONCE, limits=limits or Limits(), work=Path("/w"))
    made.give(tasks or TASKS)
    return made


def done(*tasks: RunnerTask, **fields: object) -> list[object]:
    return ["done", [list(Done(task.index, task.attempt, ok=True, payload=b"r")._replace(**fields)) for task in tasks]]


def mark(task: RunnerTask, said: bytes = b"") -> bytes:
    return said + b"\0" + NONCE + b"%d.%d\0\n" % (task.index, task.attempt)


@given(st.integers(0, 6), st.integers(0, 6), st.data())
def test_every_task_is_finished_once_or_handed_back(records: int, marks: int, data: st.DataObject):
    under_test = progress()
    steps = data.draw(st.permutations([True] * records + [False] * marks))
    recorded, marked = iter(TASKS), iter(TASKS)
    for is_record in steps:
        if is_record:
            under_test.on_done(done(next(recorded)))
        else:
            under_test.on_log(mark(next(marked)))
    assert [f.index for f in under_test.take()] == list(range(min(records, marks)))
    left = under_test.end(DEAD)
    finished = under_test.take()
    assert sorted([f.index for f in finished] + [t.index for t in left]) == list(range(min(records, marks), 6))
    blamed = [f.index for f in finished if f.outcome is Outcome.CRASHED]
    if records == 6:
        assert blamed == []
    else:
        assert blamed == [min(max(records, marks), 5)]
    assert [f.index for f in finished if f.outcome is Outcome.RESULT] == list(range(min(records, marks), records))
    assert under_test.idle


def test_nobody_is_blamed_when_the_agent_ended_it():
    under_test = progress()
    under_test.on_done(done(TASKS[0]))
    under_test.on_log(mark(TASKS[0]) + mark(TASKS[1]) + b"words")
    assert under_test.end(Verdict(None, "killed", "")) == TASKS[1:]
    assert [f.index for f in under_test.take()] == [0]


def test_the_blamed_task_tells_its_story():
    under_test = progress()
    under_test.on_log(mark(TASKS[0], b"first\n") + b"loading model\nFatal\n")
    under_test.on_done(done(TASKS[0]))
    assert under_test.end(DEAD) == TASKS[2:]
    first, blamed = under_test.take()
    assert first.log == b"first\n"
    assert (blamed.index, blamed.attempt, blamed.reason) == (1, 1, "sigsegv")
    assert blamed.log == b"loading model\nFatal\n"
    assert blamed.detail == "loading model\nFatal\nthe runner was ended by SIGSEGV"


def test_a_death_always_costs_a_task():
    under_test = progress(TASKS[0])
    under_test.on_log(mark(TASKS[0], b"done, but its record was lost"))
    assert under_test.end(DEAD) == []
    (blamed,) = under_test.take()
    assert blamed.outcome is Outcome.CRASHED
    assert blamed.log == b"done, but its record was lost"


@pytest.mark.parametrize(
    "frame",
    [
        done(TASKS[1]),
        done(TASKS[0]._replace(attempt=9)),
        done(TASKS[0]._replace(index=99)),
        done(TASKS[0], TASKS[0]),
        done(TASKS[0], payload=b"x" * 101),
        done(TASKS[0], detail="x" * 100_000, reason="raised", ok=False, payload=b""),
        ["done", "nonsense"],
    ],
)
def test_a_forged_frame_breaks_the_protocol(frame: list[object]):
    under_test = progress(limits=Limits(result_bytes=100))
    with pytest.raises(RunnerError):
        under_test.on_done(frame)


def test_a_runner_without_tasks_has_none_to_report():
    under_test = progress(TASKS[0])
    under_test.on_done(done(TASKS[0]))
    with pytest.raises(RunnerError):
        under_test.on_done(done(TASKS[0]))


def test_failures_and_outputs_come_through():
    under_test = progress(TASKS[0], TASKS[1])
    record = {
        "ok": False,
        "payload": b"",
        "reason": "raised",
        "detail": "Traceback",
        "has_outputs": True,
        "seconds": 2.0,
    }
    under_test.on_done(done(TASKS[0], **record))
    under_test.on_log(mark(TASKS[0]))
    (failed,) = under_test.take()
    assert (failed.outcome, failed.reason, failed.detail) == (Outcome.FAILED, "raised", "Traceback")
    assert failed.outputs == Path("/w/task-0-0")
    assert failed.seconds == 2.0
    assert not under_test.untaken
    assert not under_test.idle


def test_what_waits_to_be_taken_is_counted():
    under_test = progress()
    under_test.on_done(done(*TASKS[:2], payload=b"x" * 1000))
    assert (under_test.untaken_bytes, under_test.waits_for_log) == (2000, True), (
        "results whose marks are late count too"
    )
    under_test.on_log(mark(TASKS[0], b"y" * 50) + mark(TASKS[1]))
    assert (under_test.untaken_bytes, under_test.waits_for_log) == (2050, False)
    under_test.take()
    assert under_test.untaken_bytes == 0
