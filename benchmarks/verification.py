"""Accepted errors and executions a task, by how devices lie and how results are verified, by simulation.

Every cell is a whole grid on virtual time: production scheduler, agents, signatures and messages.  A share of the
devices lies, and nothing else is wrong.  All invariants are checked after every commit.

    .venv/bin/python benchmarks/verification.py [--tasks 100000] [--devices 200] [--bad 0.05] [--seeds 1]
"""

from __future__ import annotations

import argparse
import json
import os
import time
from typing import Any

from corpgrid.domain.job import VerifyMode, VerifyPolicy
from corpgrid.sim.liars import Honesty
from corpgrid.sim.report import Report, simulate
from corpgrid.sim.scenarios import Scenario
from corpgrid.sim.workload import Workload

MODES = (VerifyMode.NONE, VerifyMode.AUDIT, VerifyMode.QUORUM, VerifyMode.TIERS)
LIARS = (Honesty.STEADY, Honesty.SLEEPER, Honesty.SLOW, Honesty.COLLUDER, Honesty.PATIENT)


def cell(honesty: Honesty, mode: VerifyMode, sizes: argparse.Namespace, seed: int) -> Report:
    """One grid from the first task to the last."""
    policy = VerifyPolicy(mode=mode, max_total=60, max_error=30)
    # Short tasks come by the hundred, which is what makes a million of them affordable.
    work = Workload(tasks=sizes.tasks, seconds=0.002, spread=0.0, verify=policy)
    trusted = max(1, sizes.devices // 50)
    scenario = Scenario(
        name=f"{honesty} {mode}",
        hours=1.0,
        devices=sizes.devices,
        trusted=trusted,
        jobs=(work,),
        dishonest={honesty: sizes.bad},
        slots=1,
        deep=False,
    )
    return simulate(scenario, seed)


def row(honesty: Honesty, mode: VerifyMode, reports: list[Report]) -> dict[str, Any]:
    """What came of the seeds of one cell."""
    accepted = sum(report.accepted for report in reports)
    errors = sum(report.accepted_errors + report.unverified_errors for report in reports)
    return {
        "liars": honesty.value,
        "verify": mode.value,
        "tasks": accepted,
        "accepted_errors": errors,
        "error_rate": errors / accepted if accepted else None,
        "executions_per_task": round(sum(report.executions_per_task for report in reports) / len(reports), 4),
        "lied": sum(report.liars for report in reports),
        "caught": sum(report.devices_caught for report in reports),
        "failed": sum(report.failed for report in reports),
        "violations": [violation for report in reports for violation in report.violations],
        "seconds": round(sum(report.seconds for report in reports), 1),
    }


def main() -> None:
    """Print a line a cell, and all of them last."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--devices", type=int, default=200)
    parser.add_argument("--bad", type=float, default=0.05)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--modes", nargs="*", type=VerifyMode, default=MODES)
    parser.add_argument("--liars", nargs="*", type=Honesty, default=LIARS)
    sizes = parser.parse_args()
    started, rows = time.perf_counter(), []
    for mode in sizes.modes:
        for honesty in sizes.liars:
            rows.append(row(honesty, mode, [cell(honesty, mode, sizes, seed) for seed in range(1, sizes.seeds + 1)]))
            print(json.dumps(rows[-1]), flush=True)
    print(
        json.dumps(
            {
                "tasks": sum(entry["tasks"] for entry in rows),
                "devices": sizes.devices,
                "bad": sizes.bad,
                "cells": rows,
                "seconds": round(time.perf_counter() - started, 1),
                "load_average": round(os.getloadavg()[0], 2),
            }
        )
    )


if __name__ == "__main__":
    main()
