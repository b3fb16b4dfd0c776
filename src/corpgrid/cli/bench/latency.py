"""How long one task takes, from the call to the value in hand: jobs of one task, one after another, on an idle grid.

Its result is taken as it comes (``verify`` none): how long checks take is a matter of who else is there to check.
With ``trace``, two grids are measured: one as it is, and one with stopwatches that says where the milliseconds go.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from corpgrid.cli.bench.facts import latency_facts, machine_facts, store_facts
from corpgrid.cli.bench.grid import Bench, Setting, bench_grid, noop_task
from corpgrid.cli.bench.peers import against, measure_peers, peers_latency, require_peers, singles_per_s
from corpgrid.cli.bench.trace import Trace, breakdown
from corpgrid.domain.ids import JobId
from corpgrid.domain.job import VerifyMode, VerifyPolicy
from corpgrid.sdk.client import Grid

_WARM_SINGLES = 20
_TRACED_SCHEDULER = ("-m", "corpgrid.cli.bench.traced_scheduler")
_TRACED_AGENT = ("-m", "corpgrid.cli.bench.traced_agent")
_PLAIN = VerifyPolicy(mode=VerifyMode.NONE)


def measure_latency(*, singles: int, trace: bool, setting: Setting, peers: Sequence[str] = ()) -> dict[str, Any]:
    """Percentiles in milliseconds, and how many such jobs a second one client gets through."""
    require_peers(peers)
    machine = machine_facts()
    with bench_grid(setting) as bench:
        seconds = single_seconds(bench.grid, singles)
    rate = len(seconds) / sum(seconds)
    others = measure_peers(peers, tasks=1, singles=singles, runs=1)
    return {
        "singles": singles,
        **latency_facts(seconds),
        "tasks_per_s": round(rate),
        **store_facts(setting.store),
        "verify": VerifyMode.NONE.value,
        "runners": setting.agents,
        **({"breakdown": _traced(singles, setting)} if trace else {}),
        **against(singles_per_s(others), tasks_per_s=rate),
        **peers_latency(others),
        **machine,
    }


def single_seconds(
    grid: Grid,
    singles: int,
    noted: Callable[[JobId, float], None] = lambda _job, _called: None,
) -> list[float]:
    """How long each of so many jobs took; ``noted`` is told of each when it is over, and when it was called."""
    function, seconds = noop_task(), []
    for number in range(_WARM_SINGLES + singles):
        called = time.perf_counter()
        job = grid.map(function, [number], verify=_PLAIN)
        assert job.results() == [number]
        seconds.append(time.perf_counter() - called)
        noted(JobId(job.id), called)
    return seconds[_WARM_SINGLES:]


def _traced(singles: int, setting: Setting) -> dict[str, float]:
    programs = {"scheduler": _TRACED_SCHEDULER, **dict.fromkeys(setting.names, _TRACED_AGENT)}
    trace, jobs = Trace(), list[JobId]()
    with bench_grid(replace(setting, programs=programs)) as bench:
        _note_sending(bench, trace)

        def noted(job: JobId, called: float) -> None:
            trace.note("read", [job])
            trace.note("called", [job], at=called)
            jobs.append(job)

        single_seconds(bench.grid, singles, noted)
        bench.end()
        for name in ("scheduler", *setting.names):
            trace.add(bench.folder / name)
    return breakdown(trace, jobs[_WARM_SINGLES:])


def _note_sending(bench: Bench, trace: Trace) -> None:
    """Have this client note when it has packed and signed a job, and sends it."""
    api: Any = bench.grid.api
    submit_job = api.submit_job

    async def traced(*args: Any, **kwargs: Any) -> Any:
        sent = time.perf_counter()
        row = await submit_job(*args, **kwargs)
        trace.note("sent", [row.id], at=sent)
        return row

    api.submit_job = traced
