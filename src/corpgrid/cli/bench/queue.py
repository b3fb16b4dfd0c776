"""Whether a full queue slows a grid down, and what it costs: the rate of one job while others wait, and job after job.

* What waits asks for a label that no device here has, at a lower priority: it is looked at, and never placed.
* Then one job of each size, on a grid of its own: were a task's cost to grow with its job, the rate would fall.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from corpgrid.cli.bench.dispatch import timed_job, warm
from corpgrid.cli.bench.facts import machine_facts, store_facts
from corpgrid.cli.bench.grid import Bench, Setting, bench_grid, noop_task
from corpgrid.domain.job import Requirements, VerifyMode

_JOB_TASKS = 100_000
_LOW_PRIORITY = 10
_NOWHERE = Requirements(labels=("nowhere",))


def measure_queue(
    *, queued: Sequence[int], sizes: Sequence[int], tasks: int, runs: int, setting: Setting
) -> dict[str, Any]:
    """Tasks a second and the scheduler's memory for each length of the queue, and for each size of one job."""
    machine = machine_facts()
    behind, waiting = [], 0
    with bench_grid(setting) as bench:
        warm(bench, tasks)
        for length in sorted(queued):
            waiting += _fill(bench, length - waiting)
            behind.append(_row(bench, {"queued": waiting}, tasks, runs))
    with bench_grid(setting) as bench:
        warm(bench, tasks)
        alone = [_row(bench, {"tasks": size}, size, runs) for size in sorted(sizes)]
    return {
        "tasks_per_s": behind[-1]["tasks_per_s"] if behind else alone[-1]["tasks_per_s"],
        "tasks": tasks,
        "by_queue": behind,
        "by_size": alone,
        **store_facts(setting.store),
        "runners": setting.agents,
        **machine,
    }


def _row(bench: Bench, about: dict[str, Any], tasks: int, runs: int) -> dict[str, Any]:
    rates = [timed_job(bench, tasks)[0] for _ in range(runs)]
    return {
        **about,
        "tasks_per_s": round(max(rates)),
        "tasks_per_s_all": [round(rate) for rate in rates],
        "scheduler_memory_bytes": bench.scheduler_bytes(),
    }


def _fill(bench: Bench, tasks: int) -> int:
    """So many more tasks wait; in jobs of a size that people submit."""
    for start in range(0, tasks, _JOB_TASKS):
        bench.grid.map(
            noop_task(),
            range(start, min(start + _JOB_TASKS, tasks)),
            name="waits",
            verify=VerifyMode.NONE,
            requirements=_NOWHERE,
            priority=_LOW_PRIORITY,
        )
    return max(tasks, 0)
