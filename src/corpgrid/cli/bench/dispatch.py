"""How many no-op tasks a second go all the way.

Submitted, placed, run in a sandbox, signed, verified, committed and read back.

Two agents of different owners with one runner each, one scheduler on a durable store (every tick is synced to disk),
one client; audits on.  Everything runs on this machine, so all of them share its cores.  Then single jobs, one after
another: from ``submit`` to the value in hand.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import quantiles
from typing import Any

from corpgrid.cli.demo.office import Office
from corpgrid.config import ClientConfig
from corpgrid.domain.job import VerifyMode, VerifyPolicy
from corpgrid.sdk.client import Grid, connect

_AGENTS: Mapping[str, Mapping[str, Any]] = {
    "first": {"owner": "first", "site": "bench"},
    "second": {"owner": "second", "site": "bench"},
}
_WARM_TASKS = 2_000
_WARM_SINGLES = 20


@contextmanager
def bench_grid() -> Iterator[Grid]:
    """A client of a grid with two agents, for as long as the block runs."""
    folder = Path(tempfile.mkdtemp(prefix="corpgrid-bench-"))
    try:
        with (
            Office(folder, _AGENTS) as office,
            connect(office.address, key=office.key, config=ClientConfig()) as grid,
        ):
            yield grid
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def measure_dispatch(*, tasks: int, singles: int, runs: int) -> dict[str, Any]:
    """Tasks a second of the best run and of all, and the latency of single jobs in milliseconds."""

    def noop(item: int) -> int:
        return item

    with bench_grid() as grid:
        list(grid.map(noop, range(_WARM_TASKS), name="warm-up"))
        rates, executions = [], 0
        for _ in range(runs):
            started = time.perf_counter()
            job = grid.map(noop, range(tasks))
            values = list(job)
            rates.append(tasks / (time.perf_counter() - started))
            assert values == list(range(tasks)), "a result is wrong or out of order"
            executions = job.status().executions
        latencies = _singles(grid, noop, singles)
        counters = grid.info().counters
    ticks = counters["ticks"]
    return {
        "tasks": tasks,
        "tasks_per_s": round(max(rates)),
        "tasks_per_s_all": [round(rate) for rate in rates],
        "executions_per_task": round(executions / tasks, 3),
        **_latency(latencies),
        "store": "sqlite",
        "durable": True,
        "signed": True,
        "verify": VerifyMode.AUDIT.value,
        "runners": len(_AGENTS),
        "commit_ms": round(1e3 * counters["commit_seconds"] / ticks, 3),
        "ticks": int(ticks),
        "load_average": round(os.getloadavg()[0], 2),
        "cpus": os.cpu_count(),
    }


def _singles(grid: Grid, function: Any, singles: int) -> list[float]:
    policy = VerifyPolicy(mode=VerifyMode.NONE)
    seconds = []
    for number in range(_WARM_SINGLES + singles):
        started = time.perf_counter()
        assert grid.map(function, [number], verify=policy).results() == [number]
        seconds.append(time.perf_counter() - started)
    return seconds[_WARM_SINGLES:]


def _latency(seconds: Sequence[float]) -> dict[str, float]:
    cuts = quantiles(seconds, n=100)
    return {"p50_ms": round(1e3 * cuts[49], 2), "p99_ms": round(1e3 * cuts[98], 2)}
