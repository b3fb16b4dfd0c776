"""Runs say what single rows would say, whatever is changed of them, in whatever order."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from corpgrid.domain.attempt import Attempt, AttemptState
from corpgrid.domain.ids import DeviceId, Digest, Epoch, JobId, OwnerId, SiteId
from corpgrid.domain.job import Purpose, Task, TaskState
from corpgrid.stores.pieces import (
    attempt_runs,
    attempts_by_key,
    cut,
    provided,
    rewritten,
    task_runs,
    tasks_by_key,
)
from corpgrid.stores.runs import AttemptRun, TaskRun, attempts_with, task_key, task_of, tasks_of
from corpgrid.stores.spans import Span, alike, ends, rest, spans, within

JOBS = {JobId("job_a"): 3, JobId("job_b"): 4}
NAMES = {number: job for job, number in JOBS.items()}
DEVICES = {DeviceId("dev_a"): 7, DeviceId("dev_b"): 8}
IDS = {number: device for device, number in DEVICES.items()}
SIZE = 12

RISING = st.sets(st.integers(0, 40)).map(sorted)
PLACES = st.tuples(st.sampled_from(sorted(JOBS)), st.integers(0, SIZE - 1))
TASKS = st.builds(
    lambda place, state, live, ready_at, reason: Task(*place, state=state, live=live, ready_at=ready_at, reason=reason),
    PLACES,
    st.sampled_from([TaskState.READY, TaskState.LEASED]),
    st.integers(0, 1),
    st.sampled_from([0.0, 1.5]),
    st.sampled_from(["", "nul \0"]),
)
ATTEMPTS = st.builds(
    lambda place, number, device, state, ends: Attempt(
        *place, number, device, OwnerId("o"), SiteId("s"), Purpose.PRIMARY, Epoch(9), state, *ends
    ),
    PLACES,
    st.integers(0, 2),
    st.sampled_from(sorted(DEVICES)),
    st.sampled_from([AttemptState.LEASED, AttemptState.RETURNED]),
    st.tuples(
        st.integers(0, 1),
        st.integers(0, 2**31 - 1),
        st.sampled_from([b"", b"d" * 32, b"e" * 32, b"short"]).map(Digest),
        st.sampled_from(["", "raised"]),
        st.floats(0.0, 1e9),
    ),
)


def tasks_in(runs: list[TaskRun]) -> dict[int, Task]:
    """Every task of runs, by its key; one that is in two of them is an error."""
    found: dict[int, Task] = {}
    for run in runs:
        keys = range(run.first, run.last + 1)
        assert found.keys().isdisjoint(keys)
        found.update(zip(keys, run.tasks(NAMES[run.last >> 24], keys), strict=True))
    return found


def attempts_in(runs: list[AttemptRun]) -> dict[int, Attempt]:
    """The same for attempts."""
    found: dict[int, Attempt] = {}
    for run in runs:
        keys = range(run.first, run.last + 1)
        assert found.keys().isdisjoint(keys)
        attempts = run.attempts(NAMES[run.last >> 36], IDS[run.device], tasks_of(Span(run.first, run.last)))
        found.update(zip(keys, attempts, strict=True))
    return found


@given(RISING)
def test_spans_are_the_keys(keys: list[int]) -> None:
    found = spans(keys)
    assert [key for first, last in found for key in range(first, last + 1)] == keys
    assert all(two.first > one.last + 1 for one, two in pairwise(found))
    assert list(zip(*ends(found), strict=True)) == found


@given(RISING, st.tuples(st.integers(0, 40), st.integers(0, 40)).map(sorted).map(lambda pair: Span(*pair)))
def test_what_is_within_a_span_and_the_rest_of_it_are_the_span(keys: list[int], span: Span) -> None:
    inside = within(keys, span)
    left = [key for first, last in rest(span, spans(inside)) for key in range(first, last + 1)]
    assert sorted([*inside, *left]) == list(range(span.first, span.last + 1))
    assert set(inside) <= set(keys)


@given(st.dictionaries(st.integers(0, 20), st.tuples(st.integers(0, 1), st.integers(0, 1))))
def test_parts_are_alike_and_as_long_as_can_be(rows: dict[int, tuple[int, int]]) -> None:
    keys = sorted(rows)
    one, two = ([rows[key][place] for key in keys] for place in (0, 1))
    parts = [(keys[begin:end], {rows[key] for key in keys[begin:end]}) for begin, end in alike(keys, one, two)]
    assert [key for part, _ in parts for key in part] == keys
    assert all(len(kinds) == 1 and part == list(range(part[0], part[-1] + 1)) for part, kinds in parts)
    assert all(kinds != more or part[-1] + 1 != following[0] for (part, kinds), (following, more) in pairwise(parts))


@given(st.lists(st.lists(TASKS, max_size=8), max_size=6))
def test_runs_of_tasks_are_what_was_written_last(ticks: list[list[Task]]) -> None:
    stored = {run.last: run for run in (TaskRun(task_key(n, 0), task_key(n, SIZE - 1), open=2) for n in NAMES)}
    expected = tasks_in(list(stored.values()))
    assert set(expected.values()) == {Task(job, index, open=2) for job in JOBS for index in range(SIZE)}
    for tick in ticks:
        changed = tasks_by_key(tick, JOBS)
        expected.update(changed)
        keys = sorted(changed)
        old, left, missing = cut(stored.values(), keys)
        assert missing == []
        rows = rewritten(old, [*left, *task_runs(changed)])
        assert {run.last for run in rows.put} | set(rows.drop) == {run.last for run in old}
        for key in rows.drop:
            del stored[key]
        assert stored.keys().isdisjoint(run.last for run in rows.add)
        stored.update((run.last, TaskRun.of(run.values())) for run in (*rows.put, *rows.add))
        assert tasks_in(list(stored.values())) == expected


@given(st.lists(st.lists(ATTEMPTS, max_size=8), max_size=6))
def test_runs_of_attempts_are_what_was_written_last(ticks: list[list[Attempt]]) -> None:
    stored: dict[int, AttemptRun] = {}
    expected: dict[int, Attempt] = {}
    for tick in ticks:
        written = attempts_by_key(tick, JOBS)
        old, left, missing = cut(stored.values(), sorted(written))
        assert missing == sorted(written.keys() - expected.keys())
        rows = rewritten(old, [*left, *attempt_runs(written, DEVICES)])
        for key in rows.drop:
            del stored[key]
        stored.update((run.last, AttemptRun.of(run.values())) for run in (*rows.put, *rows.add))
        expected.update(written)
        assert attempts_in(list(stored.values())) == expected
    for run in stored.values():
        assert run.tasks() == Span(task_of(run.first), task_of(run.last))
        for key in range(run.first, run.last + 1):
            assert run.attempts(NAMES[key >> 36], IDS[run.device], [task_of(key)]) == [expected[key]]


@given(st.lists(ATTEMPTS, max_size=12), st.integers(-1, 2))
def test_every_task_gets_the_device_of_its_accepted_attempt(rows: list[Attempt], accepted: int) -> None:
    written = attempts_by_key(rows, JOBS)
    run = TaskRun(task_key(3, 0), task_key(3, SIZE - 1), accepted=accepted)
    found, unknown = provided([run], sorted(attempt_runs(written, DEVICES)))
    providers = {key: part.provider for part in found for key in range(part.first, part.last + 1)}
    assert sorted(providers) == list(range(run.first, run.last + 1))
    wanted = {} if accepted < 0 else {attempts_with(accepted, Span(key, key)).first: key for key in providers}
    for attempt, task in wanted.items():
        assert providers[task] == (DEVICES[written[attempt].device] if attempt in written else None)
    assert {key for span in unknown for key in range(span.first, span.last + 1)} == wanted.keys() - written.keys()
