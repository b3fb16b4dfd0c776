"""What the demo found: leaderboard, heat map, verification report, and the comparison with a local ground truth."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from types import ModuleType
from typing import Any

import click

from corpgrid.cli.render import Renderer, Style
from corpgrid.domain.answers import Report
from corpgrid.domain.device import Device, DeviceState
from corpgrid.domain.job import Job

_BEST = 5
_LIGHT_PERCENT = 5.0
_SHOWN_PERCENT = (1.0, 100.0)
_SEARCH = Path(__file__).parent / "digits" / "search.py"


@dataclass
class Figures:
    """Everything that the demo measured.

    Attributes:
        results: accepted results by task.
        names: what the demo calls each device.
        yielded_within_s: from pulling the laptop's plug until nothing of the grid ran on it.
        truth: the same results, computed here.
    """

    items: Sequence[Any]
    results: Mapping[int, Any]
    row: Job
    report: Report
    names: Mapping[str, str]
    devices: Sequence[Device]
    yielded_within_s: float
    truth: Sequence[Any] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def wrong(self) -> int:
        """Accepted results that are not the truth."""
        return sum(self.truth[index] != value for index, value in self.results.items())

    @property
    def liar(self) -> Device | None:
        """The device that lies, if it is quarantined."""
        for device in self.devices:
            if self.names.get(device.id) == "liar" and device.state is DeviceState.QUARANTINED:
                return device
        return None

    def summary(self, picture: Path) -> dict[str, Any]:
        """The figures for programs."""
        best = max(self.results.values(), key=lambda value: value["accuracy"], default=None)
        return {
            "tasks": self.row.tasks,
            "accepted": len(self.results),
            "wrong_accepted": self.wrong,
            "executions": self.row.executions,
            "executions_per_task": round(self.row.executions / self.row.tasks, 3),
            "audits": self.row.audits,
            "mismatches": self.row.mismatches,
            "liar_quarantined": self.liar is not None,
            "liar_results": self.liar.completed if self.liar is not None else -1,
            "honest_quarantined": sum(
                device.state is DeviceState.QUARANTINED and self.names.get(device.id) != "liar"
                for device in self.devices
            ),
            "yielded_within_s": round(self.yielded_within_s, 3),
            "lost_tasks": self.row.tasks - len(self.results),
            "error_bound": self.row.error_bound,
            "best": best,
            "picture": str(picture),
            "job_seconds": round(self.row.finished_at - self.row.created_at, 2),
            "seconds": round(self.seconds, 2),
        }


def truth_of(items: Sequence[Any]) -> list[Any]:
    """The same computation, here."""
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        return list(pool.map(_evaluate, items, chunksize=5))


def _evaluate(item: Any) -> Any:
    return _search().evaluate(item)


def _search() -> ModuleType:
    found = sys.modules.get("search")
    if found is None:
        spec = importlib.util.spec_from_file_location("search", _SEARCH)
        assert spec is not None
        assert spec.loader is not None
        found = importlib.util.module_from_spec(spec)
        sys.modules["search"] = found
        spec.loader.exec_module(found)
    return found


def print_report(renderer: Renderer, figures: Figures, picture: Path) -> None:
    """Print the report for people, and save the heat map."""
    save_picture(figures, picture)
    if renderer.style is not Style.TABLE:
        return
    best = sorted(figures.results.values(), key=lambda value: -value["accuracy"])[:_BEST]
    click.echo("\nbest settings")
    renderer.rows(best, columns=("gamma", "c", "accuracy"), empty="no results")
    summary, row = figures.summary(picture), figures.row
    liar = figures.liar
    caught = f"the liar, after {liar.completed} results" if liar is not None else "nobody"
    click.echo("\nverification")
    click.echo(f"  {figures.report.standing}")
    click.echo(f"  executions per task   {summary['executions_per_task']} ({row.executions} for {row.tasks} tasks)")
    click.echo(f"  audits                {row.audits}, of which {row.mismatches} disagreed")
    click.echo(f"  caught                {caught}")
    bound = f"{row.error_bound:.2g} of accepted results, against liars who choose their rate"
    click.echo(f"  error bound           {bound}")
    click.echo(f"  wrong accepted        {figures.wrong} of {len(figures.results)}, compared with the same made here")
    click.echo("\nthe laptop's owner")
    click.echo(f"  work was gone         {figures.yielded_within_s:.2f} s after the plug was pulled")
    click.echo(f"  lost tasks            {summary['lost_tasks']}")
    click.echo(f"\nheat map: {picture}   {figures.seconds:.1f} s in all")


def save_picture(figures: Figures, path: Path) -> None:
    """A heat map of the share of digits read wrong, over both parameters."""
    import matplotlib as mpl  # noqa: PLC0415 - an extra of the demo

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - as above
    from matplotlib.colors import LogNorm  # noqa: PLC0415 - as above

    gammas = sorted({item["gamma"] for item in figures.items})
    costs = sorted({item["c"] for item in figures.items})
    table = [[float("nan")] * len(gammas) for _ in costs]
    for value in figures.results.values():
        table[costs.index(value["c"])][gammas.index(value["gamma"])] = 100.0 * (1.0 - value["accuracy"])
    figure, axes = plt.subplots(figsize=(8.0, 5.5), layout="constrained")
    norm = LogNorm(*_SHOWN_PERCENT, clip=True)  # fixed: there may be no result to take a range from
    image = axes.imshow(table, origin="lower", aspect="auto", cmap="viridis_r", norm=norm)
    for row, line in enumerate(table):
        for column, share in enumerate(line):
            color = "white" if share > _LIGHT_PERCENT else "black"
            axes.text(column, row, f"{share:.1f}", ha="center", va="center", fontsize=7, color=color)
    axes.set_xticks(range(len(gammas)), [f"{gamma:g}" for gamma in gammas])
    axes.set_yticks(range(len(costs)), [f"{cost:g}" for cost in costs])
    axes.set_xlabel("gamma")
    axes.set_ylabel("C")
    axes.set_title("Handwritten digits read wrong, in percent: 100 tasks on a grid with a liar in it")
    bar = figure.colorbar(image, ax=axes, label="read wrong, %", ticks=[1, 2, 5, 10, 20, 50], format="%g")
    bar.minorticks_off()
    figure.savefig(path, dpi=110)
    plt.close(figure)
