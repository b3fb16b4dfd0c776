"""The grid that is measured: a scheduler on a durable store and a few agents, each a process, on this machine.

    with bench_grid(Setting(store="sqlite")) as bench:
        bench.grid.map(noop_task(), range(10_000)).results()

Its agents belong to different owners, as those of a company do, so that checks have somebody to ask; each has one
runner.  All of them share the machine's cores with whoever measures.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from corpgrid.cli.bench.postgres import development_server
from corpgrid.cli.demo.office import Office, Program
from corpgrid.config import ClientConfig
from corpgrid.sdk.client import Grid, connect

STORES = ("sqlite", "postgres")
_OWNERS = ("first", "second", "third", "fourth")
_OPEN_FOLDER = 0o711
_CALL_SECONDS = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What grid to measure.

    Attributes:
        store: one of ``STORES``.
        dsn: (``postgres``) an empty database; empty starts a server for this measurement.
        agents: how many, each with one runner.
        programs: what to start in place of a scheduler or an agent, by its name.
        scheduler: its options that are not those of the demo.
    """

    store: str = "sqlite"
    dsn: str = ""
    agents: int = 2
    programs: Mapping[str, Program] = field(default_factory=dict)
    scheduler: Mapping[str, Any] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the agents."""
        return _OWNERS[: self.agents]


class Bench:
    """A grid under measurement.

    Attributes:
        folder: where all of it is kept.
        grid: a client.
    """

    def __init__(self, folder: Path, office: Office, grid: Grid) -> None:
        self.folder = folder
        self.grid = grid
        self._office = office

    @property
    def address(self) -> str:
        """Where the scheduler listens."""
        return self._office.address

    def scheduler_bytes(self) -> int:
        """Memory that the scheduler has now."""
        return int(psutil.Process(self._office.pid("scheduler")).memory_info().rss)

    def scheduler_cpu_seconds(self) -> float:
        """CPU time that the scheduler has taken so far; unlike a rate, it hardly depends on who else is busy."""
        taken = psutil.Process(self._office.pid("scheduler")).cpu_times()
        return float(taken.user + taken.system)

    def end(self) -> None:
        """End the grid's processes, so that what they write at their end is there."""
        self._office.close()


def noop_task() -> Callable[[int], int]:
    """The task of which only its way is measured; made here, so that it travels by value, as a user's function does."""

    def noop(item: int) -> int:
        return item

    return noop


@contextmanager
def bench_grid(setting: Setting) -> Iterator[Bench]:
    """A grid and its client, for as long as the block runs.

    Raises:
        UnavailableError: it did not start.
        NotFoundError: there is no PostgreSQL server here.
    """
    folder = Path(tempfile.mkdtemp(prefix="corpgrid-bench-"))
    folder.chmod(_OPEN_FOLDER)
    agents = {name: {"owner": name, "site": "bench"} for name in setting.names}
    try:
        with _store(setting, folder) as store:
            options = {**setting.scheduler, **({"store": store} if store else {})}
            office = Office(folder / "grid", agents, scheduler=options, programs=setting.programs)
            config = ClientConfig(timeout_seconds=_CALL_SECONDS, cache_folder=folder / "cache")
            with office, connect(office.address, key=office.key, config=config) as grid:
                yield Bench(folder / "grid", office, grid)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _store(setting: Setting, folder: Path) -> Iterator[str]:
    """The URL of the store; empty: SQLite in the scheduler's folder."""
    needs_server = setting.store == "postgres" and not setting.dsn
    with development_server(folder / "postgres") if needs_server else nullcontext(setting.dsn) as url:
        yield url
