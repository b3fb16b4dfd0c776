"""How many no-op tasks a second go all the way.

Submitted, placed, run in a sandbox, signed, verified, committed and read back.

Two agents of different owners with one runner each, one scheduler on a durable store (every tick is synced to disk),
one client; audits on.  Everything runs on this machine, so all of them share its cores.  Then single jobs, one after
another: from ``submit`` to the value in hand.  Then the peers that are asked for, each in its turn.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from corpgrid.cli.bench.facts import latency_facts, machine_facts, store_facts
from corpgrid.cli.bench.grid import Bench, Setting, bench_grid, noop_task
from corpgrid.cli.bench.latency import single_seconds
from corpgrid.cli.bench.peers import against, measure_peers, peers_latency, require_peers
from corpgrid.domain.job import VerifyMode

_WARM_TASKS = 2_000


def measure_dispatch(
    *, tasks: int, singles: int, runs: int, setting: Setting, peers: Sequence[str] = ()
) -> dict[str, Any]:
    """Tasks a second of the best run and of all, and the latency of single jobs in milliseconds."""
    require_peers(peers)
    machine = machine_facts()
    with bench_grid(setting) as bench:
        warm(bench, tasks)
        rates, executions = [], 0
        for _ in range(runs):
            rate, executions = timed_job(bench, tasks)
            rates.append(rate)
        latencies = single_seconds(bench.grid, singles)
        counters = bench.grid.info().counters
    others = measure_peers(peers, tasks=tasks, singles=singles, runs=runs)
    ticks = counters["ticks"]
    rate = max(rates)
    return {
        "tasks": tasks,
        "tasks_per_s": round(rate),
        "tasks_per_s_all": [round(rate) for rate in rates],
        "executions_per_task": round(executions / tasks, 3),
        **latency_facts(latencies),
        **store_facts(setting.store),
        "verify": VerifyMode.AUDIT.value,
        "runners": setting.agents,
        "commit_ms": round(1e3 * counters["commit_seconds"] / ticks, 3),
        "ticks": int(ticks),
        **against(others, tasks_per_s=rate),
        **peers_latency(others),
        **machine,
    }


def warm(bench: Bench, tasks: int) -> None:
    """Let everything start that starts once."""
    bench.grid.map(noop_task(), range(min(_WARM_TASKS, tasks)), name="warm-up").results()


def timed_job(bench: Bench, tasks: int, **options: Any) -> tuple[float, int]:
    """Tasks a second of one job, from its call to its last value, and how often a task was executed."""
    started = time.perf_counter()
    job = bench.grid.map(noop_task(), range(tasks), **options)
    values = list(job)
    rate = tasks / (time.perf_counter() - started)
    assert values == list(range(tasks)), "a result is wrong or out of order"
    return rate, job.status().executions
