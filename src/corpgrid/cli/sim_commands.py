"""``corpgrid sim``: a whole grid on virtual time, under one seed, with everything that can go wrong.

With ``--json`` one object comes last.  The exit status is 1 if anything that must hold did not; then the seed, the last
events and the command that plays them again go to standard error.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from corpgrid.cli.context import output_options
from corpgrid.cli.render import Renderer

if TYPE_CHECKING:
    from corpgrid.sim.report import Report

_SCENARIOS = ("calm", "liars", "forger", "laptops", "storm", "partition", "everything")


@click.command("sim")
@click.option("--scenario", "name", type=click.Choice(_SCENARIOS), default="everything", show_default=True)
@click.option("--seed", default=1, show_default=True, help="The first seed.")
@click.option("--seeds", default=1, show_default=True, help="How many seeds, one after another.")
@click.option("--hours", default=1.0, show_default=True, help="Virtual hours during which faults go on.")
@click.option("--devices", default=12, show_default=True, help="Computers, the operator's own included.")
@click.option("--tasks", default=300, show_default=True, help="Tasks of all jobs together, about.")
@click.option("--schedulers", default=0, help="How many share one store; 0: as many as the scenario has.")
@click.option("--heartbeat", default=0.0, help="Seconds between two heartbeats; 0: as agents are told by default.")
@click.option("--wire", is_flag=True, help="Encode and decode every message, light ones too.")
@output_options
def sim(  # noqa: PLR0913 - its options
    renderer: Renderer,
    *,
    name: str,
    seed: int,
    seeds: int,
    hours: float,
    devices: int,
    tasks: int,
    schedulers: int,
    heartbeat: float,
    wire: bool,
) -> None:
    """Live through a scenario: production schedulers and agents, virtual time, faults from a seed."""
    from corpgrid.sim.report import simulate, total  # noqa: PLC0415 - the whole grid; `--help` must not wait for it
    from corpgrid.sim.scenarios import scenario  # noqa: PLC0415 - as above

    chosen = scenario(
        name,
        hours=hours,
        devices=devices,
        tasks=tasks,
        schedulers=schedulers,
        heartbeat_seconds=heartbeat,
        wire=wire,
    )
    again = f"--hours {hours:g} --devices {devices} --tasks {tasks}"
    again += f" --schedulers {schedulers}" if schedulers else ""
    again += f" --heartbeat {heartbeat:g}" if heartbeat else ""
    again += " --wire" if wire else ""
    reports = []
    for number in range(seed, seed + seeds):
        reports.append(simulate(chosen, number))
        renderer.line(_line(reports[-1]))
        if reports[-1].violations:
            _tell(reports[-1], f"corpgrid sim --scenario {name} --seed {number} {again}")
    facts: dict[str, Any] = total(reports)
    renderer.facts(facts, name="trace_hash")
    if facts["violations"]:
        sys.exit(1)


def _line(report: Report) -> str:
    verdict = "VIOLATED" if report.violations else "holds"
    return (
        f"seed {report.seed}: {verdict}; {report.tasks:,} tasks, {report.accepted_errors} wrong, "
        f"{report.executions_per_task:.3f} executions each, {report.virtual_hours:.1f} virtual hours "
        f"in {report.seconds:.1f} s"
    )


def _tell(report: Report, command: str) -> None:
    """The story of a violation."""
    lines = [f"seed {report.seed} of scenario {report.scenario}; its last events:", *report.story]
    lines += [f"violation: {violation}" for violation in report.violations]
    click.echo("\n".join([*lines, f"play it again: {command}"]), err=True)
