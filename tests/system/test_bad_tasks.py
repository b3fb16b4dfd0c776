"""Tasks that raise, hang, fork, flood, write, crash or attack: each ends with its reason, all others end well."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from corpgrid.domain.device import DeviceState
from corpgrid.domain.job import JobState, Limits, TaskState, VerifyMode, VerifyPolicy
from tests.system.company import PATIENCE_SECONDS, Company, open_folder
from tests.system.jobs import healthy_or_by_chance, misbehave

pytestmark = [pytest.mark.system, pytest.mark.sandbox]

LIMITS = Limits(
    wall_seconds=3.0,
    memory_bytes=256 << 20,
    processes=32,
    output_bytes=8 << 20,
    output_files=100,
    log_bytes=4096,
    result_bytes=1 << 20,
    max_attempts=2,
)


class Bad(NamedTuple):
    """How a bad task may end, and what its detail says."""

    reasons: set[str]
    told: tuple[str, ...] = ()


BAD = {
    "exits": Bad({"raised"}, ("SystemExit",)),
    "raises": Bad({"raised"}, ("Traceback", "ValueError: the sky is falling", "_raises")),
    "spins": Bad({"wall_seconds"}, ("wall_seconds", "3")),
    "forks": Bad({"raised", "protocol", "wall_seconds"}),
    "forks_then_waits": Bad({"wall_seconds"}),
    "many_files": Bad({"work_files", "output_files", "wall_seconds"}),
    "fills_disk": Bad({"work_bytes", "output_bytes", "raised"}),
    "segfaults": Bad({"sigsegv"}, ("SIGSEGV",)),
    "all_memory": Bad({"memory_bytes"}, ("memory",)),
    "kills_parent": Bad({"wall_seconds", "sigkill", "exit"}),
    "secrets": Bad({"raised"}, ("/etc/shadow",)),
    "no_data": Bad({"not_data"}, ("object",)),
    "too_much": Bad({"result_bytes"}, ("1,048,576",)),
    "link": Bad({"output_kind"}, ("symbolic link",)),
}


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_folder() as path:
        yield path


def test_bad_tasks_end_with_their_reason_and_all_others_with_their_result(folder: Path):
    items: list[int | str] = []
    for number, name in enumerate([*BAD, "floods"]):
        items += [name, number, number + 100]
    with Company(folder, computers={"one": {}, "two": {}}) as company, company.connect() as grid:
        job = grid.map(misbehave, items, limits=LIMITS, verify="none")
        row = job.wait(timeout_seconds=2 * PATIENCE_SECONDS)
        assert row.state is JobState.FAILED
        found = {items[result.index]: result for result in job.raw_results()}
        for item, result in found.items():
            if isinstance(item, int):
                assert result.state is TaskState.FINAL, (item, result)
                assert job.decode(result) == item * item
        wrong = {
            name: (found[name].state, found[name].reason, found[name].detail)
            for name in BAD
            if not as_told(found, name)
        }
        assert not wrong
        assert (found["floods"].state, job.decode(found["floods"])) == (TaskState.FINAL, "flooded")
        (log,) = job.logs(items.index("floods"))
        assert len(log.log) <= LIMITS.log_bytes
        assert log.log_dropped > 1 << 20
        for name in BAD:
            attempts = grid.call(grid.api.attempts(job.id, items.index(name)))
            assert {attempt.device for attempt in attempts} == set(map(company.device, company.computers)), name
        # Both computers are as good as before.
        assert grid.map(misbehave, range(20), verify="quorum").results() == [x * x for x in range(20)]


def as_told(found, name: str) -> bool:
    result, bad = found[name], BAD[name]
    failed = result.state is TaskState.FAILED and result.reason in bad.reasons and bool(result.detail.strip())
    return failed and all(told in result.detail for told in bad.told)


def test_a_task_whose_result_is_another_each_time_fails_and_nobody_is_blamed(folder: Path):
    with Company(folder, computers={"one": {}, "two": {}}, trusted=("one",)) as company, company.connect() as grid:
        items = [1, "chance", 3]
        job = grid.map(healthy_or_by_chance, items, verify=VerifyPolicy(mode=VerifyMode.AUDIT, rate=1.0))
        assert job.wait(timeout_seconds=PATIENCE_SECONDS).state is JobState.FAILED
        first, second, third = sorted(job.raw_results(), key=lambda result: result.index)
        assert (job.decode(first), job.decode(third)) == (1, 9)
        assert (second.state, second.reason) == (TaskState.FAILED, "no_agreement")
        assert {device.state for device in grid.devices()} == {DeviceState.ACTIVE}
