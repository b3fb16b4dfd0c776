"""Where the milliseconds of one task go: moments that scheduler and agent note while a traced grid works.

* Nothing of this is in the programs that serve: a traced grid starts ``traced_scheduler`` and ``traced_agent``, which
  put a stopwatch around the same classes.  What is not traced pays nothing.
* All processes of one machine read the same monotonic clock, so that their moments can be subtracted.
* Each program keeps its moments in memory and writes them when it ends.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean

from corpgrid.domain.ids import JobId

FILE = "trace.json"
PHASES: Mapping[str, tuple[str, str]] = {
    "client_ms": ("called", "sent"),
    "submit_wire_ms": ("sent", "submit_came"),
    "submit_tick_ms": ("submit_came", "submit_committed"),
    "grant_wire_ms": ("submit_committed", "granted"),
    "agent_ms": ("granted", "returned"),
    "result_wire_ms": ("returned", "result_came"),
    "result_tick_ms": ("result_came", "result_committed"),
    "read_ms": ("result_committed", "read"),
}
"""From one moment of a job to the next; together they are its whole way.  The runner's part is in ``agent_ms``."""


class Trace:
    """Moments of jobs, in seconds of the monotonic clock; the first of a name counts."""

    def __init__(self) -> None:
        self.moments: dict[JobId, dict[str, float]] = defaultdict(dict)

    def note(self, name: str, jobs: Iterable[JobId], at: float | None = None) -> None:
        """Something happened to these jobs, now or at a moment noted before."""
        at = time.perf_counter() if at is None else at
        for job in jobs:
            self.moments[job].setdefault(name, at)

    def save(self, folder: Path) -> None:
        """Write all of it."""
        (folder / FILE).write_text(json.dumps(self.moments), encoding="utf-8")

    def add(self, folder: Path) -> None:
        """What another program saved."""
        for job, moments in json.loads((folder / FILE).read_text(encoding="utf-8")).items():
            self.moments[job].update(moments)


def breakdown(trace: Trace, jobs: Sequence[JobId]) -> dict[str, float]:
    """The mean milliseconds of each phase, and of the whole."""
    whole = [moments for job in jobs if "result_committed" in (moments := trace.moments[job])]
    phases = {name: _mean_ms(whole, start, end) for name, (start, end) in PHASES.items()}
    runner = round(1e3 * fmean(moments["runner_seconds"] for moments in whole), 3)
    return {**phases, "runner_ms": runner, "whole_ms": _mean_ms(whole, "called", "read")}


def _mean_ms(jobs: Sequence[Mapping[str, float]], start: str, end: str) -> float:
    return round(1e3 * fmean(job[end] - job[start] for job in jobs), 3)
