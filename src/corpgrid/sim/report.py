"""What a simulation found: counts for programs, and the story of a violation for people."""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b

from corpgrid.domain.device import DeviceState
from corpgrid.sim.liars import Honesty
from corpgrid.sim.scenarios import HOUR_SECONDS, Scenario
from corpgrid.sim.world import World

_SUMS = (
    "tasks",
    "accepted",
    "accepted_errors",
    "unverified_errors",
    "failed",
    "interruptions",
    "liars",
    "devices_caught",
    "scheduler_starts",
    "commits",
    "events",
)
_LARGEST = ("makespan_seconds", "wasted_share", "longest_interruption_seconds")
_GENERATION = 100_000
"""Objects between two looks of the cycle collector: a simulation makes little that it could find."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What came of one seed.

    Attributes:
        tasks: tasks of all jobs.
        accepted: results that were accepted and read.
        accepted_errors: of them, wrong ones of jobs that are verified.
        unverified_errors: wrong ones of jobs whose submitter wanted no verification.
        executions_per_task: results that came back, over results that were accepted.
        makespan_seconds: from the first submit to the end of the last job.
        wasted_share: of the time that runners worked, what came to no result.
        interruptions: times that work was seen later than the yield bound after the owner came or the plug was pulled.
        liars: devices that lied at least once.
        devices_caught: of them, those in quarantine.
        trace_hash: of all events, in order.
    """

    scenario: str
    seed: int
    tasks: int
    accepted: int
    accepted_errors: int
    unverified_errors: int
    failed: int
    executions_per_task: float
    violations: tuple[str, ...]
    makespan_seconds: float
    wasted_share: float
    interruptions: int
    longest_interruption_seconds: float
    liars: int
    devices_caught: int
    scheduler_starts: int
    commits: int
    events: int
    trace_hash: str
    virtual_hours: float
    seconds: float
    story: tuple[str, ...] = ()


def simulate(scenario: Scenario, seed: int) -> Report:
    """Live through a scenario under a seed."""
    started = time.perf_counter()
    with _listening() as errors:
        world = World(scenario, seed)
        for error in _run(world):
            world.fail(f"R1: {error}")
        for line in errors:
            world.fail(f"R1: {line}")
    return _report(world, time.perf_counter() - started)


def total(reports: Sequence[Report]) -> dict[str, object]:
    """What came of many seeds together; of one, what came of it."""
    accepted = sum(report.accepted for report in reports)
    executions = sum(report.executions_per_task * report.accepted for report in reports)
    one = blake2b("".join(report.trace_hash for report in reports).encode(), digest_size=16).hexdigest()
    facts: dict[str, object] = {
        "scenario": reports[0].scenario,
        "seed": reports[0].seed,
        "seeds": len(reports),
        **{name: sum(getattr(report, name) for report in reports) for name in _SUMS},
        "executions_per_task": round(executions / accepted, 4) if accepted else 0.0,
        "violations": [f"seed {report.seed}: {violation}" for report in reports for violation in report.violations],
        **{name: max(getattr(report, name) for report in reports) for name in _LARGEST},
        "trace_hash": reports[0].trace_hash if len(reports) == 1 else one,
        "virtual_hours": round(sum(report.virtual_hours for report in reports), 3),
        "seconds": round(sum(report.seconds for report in reports), 3),
    }
    return facts


def _run(world: World) -> list[str]:
    try:
        world.run()
    except Exception as error:
        logging.getLogger(__name__).debug("simulation broke", exc_info=error)
        return [f"{type(error).__name__}: {error}"]
    return []


def _report(world: World, seconds: float) -> Report:
    outcomes = [person.outcome for person in world.people]
    rows = [known.row for known in world.jury.invariants.jobs.values()]
    ended = [outcome for outcome in outcomes if outcome.row is not None]
    accepted = sum(row.counts.final for row in rows)
    worked = sum(machine.worked_seconds for machine in world.machines)
    finished = sum(machine.finished_seconds for machine in world.machines)
    liars = [machine for machine in world.machines if machine.conscience.lies]
    caught = {device.id for device in world.jury.invariants.devices.values() if device.state is DeviceState.QUARANTINED}
    return Report(
        scenario=world.scenario.name,
        seed=world.seed,
        tasks=sum(row.tasks for row in rows),
        accepted=sum(outcome.accepted for outcome in outcomes),
        accepted_errors=sum(outcome.wrong for outcome in outcomes if outcome.verified),
        unverified_errors=sum(outcome.wrong for outcome in outcomes if not outcome.verified),
        failed=sum(outcome.failed for outcome in outcomes),
        executions_per_task=round(sum(row.executions for row in rows) / accepted, 4) if accepted else 0.0,
        violations=tuple(world.violations),
        makespan_seconds=round(
            max((outcome.ended_at for outcome in ended), default=0.0)
            - min((outcome.submitted_at for outcome in outcomes), default=0.0),
            1,
        ),
        wasted_share=round(1 - finished / worked, 4) if worked else 0.0,
        interruptions=sum(machine.interruptions for machine in world.machines),
        longest_interruption_seconds=round(
            max((machine.longest_interruption_seconds for machine in world.machines), default=0.0), 3
        ),
        liars=sum(machine.model.honesty is not Honesty.HONEST for machine in liars),
        devices_caught=len(caught),
        scheduler_starts=world.headquarters.starts,
        commits=world.jury.invariants.commits,
        events=world.trace.events,
        trace_hash=world.trace.digest(),
        virtual_hours=round(world.loop.time() / HOUR_SECONDS, 3),
        seconds=round(seconds, 3),
        story=tuple(world.trace.last()) if world.violations else (),
    )


class _Errors(logging.Handler):
    """Keeps what was logged with a traceback: a bug that production code caught for itself."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info is not None and record.exc_info[1] is not None:
            error = record.exc_info[1]
            self.lines.append(f"{record.getMessage()}: {type(error).__name__}: {error}")


@contextmanager
def _listening() -> Iterator[list[str]]:
    """Within the block the program's log is kept from the terminal, and the cycle collector looks seldom."""
    logger, handler = logging.getLogger("corpgrid"), _Errors()
    before, level, thresholds = logger.propagate, logger.level, gc.get_threshold()
    logger.addHandler(handler)
    logger.propagate = False
    logger.setLevel(logging.ERROR)
    gc.set_threshold(_GENERATION, 20, 100)
    try:
        yield handler.lines
    finally:
        gc.set_threshold(*thresholds)
        logger.setLevel(level)
        logger.propagate = before
        logger.removeHandler(handler)
