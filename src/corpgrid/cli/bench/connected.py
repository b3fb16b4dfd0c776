"""What it costs a scheduler that many agents are connected: the same job over one of them, ten, and ten thousand.

* The agents live in one process of their own (``crowd``); they speak gRPC as every agent does, sign what they return,
  poll and send their signs of life.  They run nothing: the job's values are what their tasks would give.
* Every number of agents has a grid of its own.  Nothing is checked by another device unless that is asked for: one
  agent alone has nobody to check it, and among ten thousand new ones their probation would be most of the work.
* ``idle_cores`` is what the scheduler spends on agents that have nothing to do; the jobs are timed on top of it.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

from corpgrid.cli.bench.dispatch import timed_job
from corpgrid.cli.bench.facts import machine_facts, store_facts
from corpgrid.cli.bench.grid import Bench, Setting, bench_grid
from corpgrid.domain.job import VerifyMode
from corpgrid.errors import UnavailableError

_JOINING_SECONDS = 300.0
_END_SECONDS = 30.0
_IDLE_SECONDS = 5.0
_SECONDS = {"heartbeat_seconds": 5.0, "lease_ttl_seconds": 20.0}
"""As in a grid that is told nothing else; those of the demo are shorter."""


class Work(NamedTuple):
    """What the agents are given.

    Attributes:
        tasks: of one job.
        runs: how many jobs are timed, after one that is not.
        verify: of each job.
    """

    tasks: int
    runs: int
    verify: VerifyMode


def measure_connected(*, agents: Sequence[int], work: Work, streams: int, setting: Setting) -> dict[str, Any]:
    """For each number of agents: tasks a second, executions, what the scheduler spent on each, and its memory."""
    machine = machine_facts()
    setting = replace(setting, scheduler=_SECONDS)
    rows = [_measure(number, work, streams, setting) for number in sorted(agents)]
    return {
        "tasks_per_s": rows[-1]["tasks_per_s"],
        "tasks": work.tasks,
        "measured": rows,
        "streams": streams,
        **_SECONDS,
        "verify": work.verify.value,
        **store_facts(setting.store),
        **machine,
    }


def _measure(number: int, work: Work, streams: int, setting: Setting) -> dict[str, Any]:
    with bench_grid(setting) as bench, _crowd(bench, number, streams):
        timed_job(bench, work.tasks, verify=work.verify)
        idle = _idle_share(bench)
        rates, executions, cpu = [], 0, bench.scheduler_cpu_seconds()
        for _ in range(work.runs):
            rate, executed = timed_job(bench, work.tasks, verify=work.verify)
            rates.append(rate)
            executions += executed
        spent = bench.scheduler_cpu_seconds() - cpu
        return {
            "agents": number,
            "tasks_per_s": round(max(rates)),
            "tasks_per_s_all": [round(rate) for rate in rates],
            "executions_per_task": round(executions / work.tasks / work.runs, 3),
            "scheduler_cpu_us": round(1e6 * spent / executions, 1),
            "idle_cores": idle,
            "scheduler_memory_bytes": bench.scheduler_bytes(),
        }


def _idle_share(bench: Bench) -> float:
    """How much of a core the scheduler takes while nobody wants anything: signs of life, and polls that wait."""
    cpu = bench.scheduler_cpu_seconds()
    time.sleep(_IDLE_SECONDS)
    return round((bench.scheduler_cpu_seconds() - cpu) / _IDLE_SECONDS, 3)


@contextmanager
def _crowd(bench: Bench, agents: int, streams: int) -> Iterator[None]:
    """So many agents, known to the scheduler."""
    asked = ("--address", bench.address, "--agents", str(agents), "--streams", str(streams))
    its_input, alive = os.pipe()  # it ends when this end of the pipe does, however this process ends
    process = subprocess.Popen(
        [sys.executable, "-m", "corpgrid.cli.bench.crowd", *asked], stdin=its_input, stdout=subprocess.PIPE
    )
    os.close(its_input)
    try:
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], _JOINING_SECONDS)
        if not ready or not process.stdout.readline():
            raise UnavailableError(
                f"{agents:,} agents were not all known to the scheduler within {_JOINING_SECONDS:g} s",
                remedy="Ask for fewer, or look at what they said above.",
            )
        yield
    finally:
        os.close(alive)
        try:
            process.communicate(timeout=_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
