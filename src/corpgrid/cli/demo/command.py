"""``corpgrid demo``: a hyper-parameter search over three computers: one honest, one unplugged half way, one lying.

It ends with what matters: the leaderboard, a picture, how far the results can be believed and what that cost, and a
comparison of every accepted result with the same computation made here.  A demo that breaks a promise fails, and keeps
its logs.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from corpgrid.cli.context import output_options
from corpgrid.cli.demo.office import Office
from corpgrid.cli.demo.report import Figures, print_report, truth_of
from corpgrid.cli.demo.verdict import verdict
from corpgrid.cli.render import Renderer, Style, to_json
from corpgrid.config import ClientConfig
from corpgrid.domain.device import DeviceState
from corpgrid.domain.job import Job as JobRow
from corpgrid.domain.job import TaskState
from corpgrid.errors import UnavailableError, UsageError
from corpgrid.sdk.client import Grid, connect
from corpgrid.sdk.job import Job
from corpgrid.sdk.jobfile import JobFile, read_job_file

_REGISTER_SECONDS = 30.0
JOB_FILE = Path(__file__).parent / "digits" / "job.toml"


@click.command("demo")
@click.option("--picture", type=click.Path(path_type=Path), default=Path("corpgrid-demo.png"), show_default=True)
@click.option("--keep", is_flag=True, help="Keep the grid's folder with its logs, also when all went well.")
@output_options
def demo(renderer: Renderer, *, picture: Path, keep: bool) -> None:
    """Run a real job on a grid of three computers; one is unplugged half way, one lies.

    Fails if a wrong result is accepted, a task is lost, the liar is not caught, or the laptop's owner has to wait.
    """
    _require_packages()
    started = time.perf_counter()
    file = read_job_file(JOB_FILE)
    folder = Path(tempfile.mkdtemp(prefix="corpgrid-demo-"))
    kept = True  # unless all goes well: its logs tell why it did not
    try:
        with Office(folder) as office:
            told = _Told(renderer)
            told.say(f"a scheduler and three computers are up: {', '.join(office.devices.values())}")
            with connect(office.address, key=office.key, config=ClientConfig()) as grid:
                figures = _run(grid, office, file, told)
        told.say("computing the same here, to compare every accepted result")
        figures.truth = truth_of(file.items)
        figures.seconds = time.perf_counter() - started
        print_report(renderer, figures, picture)
        summary = figures.summary(picture)
        if renderer.style is Style.JSON:
            click.echo(to_json(summary))
        if (broken := verdict(summary, folder)) is not None:
            raise broken
        kept = keep
    finally:
        if kept:
            renderer.line(f"the grid's folder: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


def _require_packages() -> None:
    try:
        import matplotlib as mpl  # noqa: F401, PLC0415 - asked for here so that the error comes first
        import sklearn as sk  # noqa: F401, PLC0415 - as above
    except ImportError as error:
        raise UsageError(
            f"the demo needs {error.name}", remedy="Run it with ./dev demo, or install corpgrid[demo]."
        ) from None


@dataclass
class _Told:
    """Says what happens, with the seconds since the start."""

    renderer: Renderer
    started: float = field(default_factory=time.perf_counter)

    def say(self, text: str) -> None:
        if self.renderer.style is Style.TABLE:
            click.echo(f"{time.perf_counter() - self.started:6.1f} s  {text}", err=True)


def _run(grid: Grid, office: Office, file: JobFile, told: _Told) -> Figures:
    """Submit, unplug the laptop half way, and gather what came of it."""
    _wait_for_all(grid, office)
    job = grid.submit_job_file(file)
    told.say(f"{job.id}: {len(file.items)} settings of a classifier of handwritten digits")
    watcher = _Watcher(grid, office, job, told)
    watcher.start()
    row = job.wait()
    watcher.join()
    results = {result.index: job.decode(result) for result in job.raw_results() if result.state is TaskState.FINAL}
    return Figures(
        items=file.items,
        results=results,
        row=row,
        report=job.report(),
        names=office.devices,
        devices=grid.devices(),
        yielded_within_s=watcher.yielded_seconds,
    )


def _wait_for_all(grid: Grid, office: Office) -> None:
    """Wait until every computer has registered: how much is audited depends on how many there are."""
    deadline = time.monotonic() + _REGISTER_SECONDS
    while missing := sorted(set(office.devices) - {device.id for device in grid.devices()}):
        if time.monotonic() > deadline:
            raise UnavailableError(
                f"of the demo's computers, some did not register within {_REGISTER_SECONDS:g} s",
                remedy="\n".join(office.said(office.devices[device]) for device in missing),
            )
        time.sleep(0.05)


class _Watcher(threading.Thread):
    """Follows the job, pulls the laptop's plug half way, and tells what happens to whom."""

    def __init__(self, grid: Grid, office: Office, job: Job[Any], told: _Told) -> None:
        super().__init__(name="corpgrid-demo", daemon=True)
        self.yielded_seconds = -1.0
        self._grid = grid
        self._office = office
        self._job = job
        self._told = told
        self._caught: set[str] = set()

    def run(self) -> None:
        """Until the job ends."""
        half_way = False
        while True:
            row = self._job.status()
            self._tell_caught()
            if row.finished_at > 0:
                return
            if not half_way and _settled(row) * 2 >= row.tasks and self._office.works("laptop"):
                half_way = True
                self._unplug()
            time.sleep(0.1)

    def _unplug(self) -> None:
        self._told.say("the laptop is unplugged")
        self.yielded_seconds = self._office.unplug("laptop")
        self._told.say(f"nothing of the grid runs on it any more, {self.yielded_seconds:.2f} s later")

    def _tell_caught(self) -> None:
        for device in self._grid.devices():
            if device.state is DeviceState.QUARANTINED and device.id not in self._caught:
                self._caught.add(device.id)
                name = self._office.devices.get(device.id, device.id)
                self._told.say(f"{name} is quarantined after {device.completed} results: {device.reason}")


def _settled(row: JobRow) -> int:
    return row.counts.final + row.counts.provisional
