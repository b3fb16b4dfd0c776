"""A storm from its beginning to the verdict.

First the plan is played while clients submit: that is for safety.  Then everything heals, and all must come to its end
within a bound: that is for liveness.  Then every process ends, and the rows that are left are judged.
"""

from __future__ import annotations

import asyncio
import heapq
import os
import shutil
import subprocess
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.storm import journal
from benchmarks.storm.journal import Book
from benchmarks.storm.judge import Judge, kinds_of, longest_stall, orders_of
from benchmarks.storm.plan import PROCESS_KINDS, Event, Fleet, Kind, make_plan
from benchmarks.storm.proxy import Proxy
from benchmarks.storm.troop import Troop
from tests.postgres.server import Server, programs
from tests.system.company import open_folder

from corpgrid.blobs.local import LocalBlobs
from corpgrid.domain.job import JobState
from corpgrid.errors import CorpGridError
from corpgrid.host.clock import SystemClock
from corpgrid.sdk.client import Grid
from corpgrid.sim.history import History
from corpgrid.stores.postgres.store import PostgresStore
from corpgrid.stores.settings import StoreSettings
from corpgrid.trust.keys import Keyring
from corpgrid.wire.convert import batch_blobs, item_payload

_LOOK_SECONDS = 0.1
_TELL_SECONDS = 10.0
_BACK_SECONDS = 60.0
_FINISH_SECONDS = 150.0
_CALL_SECONDS = 20.0
_STORY_EVENTS = 50
_MANY_JOBS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Everything that a plan hangs on, and where to keep what is left.

    Attributes:
        seconds: for how long there is trouble.
        gap_seconds: between two blows, on average.
        keep: a folder for logs, journals and the database; None keeps them only if something was violated.
    """

    seed: int
    seconds: float
    gap_seconds: float
    schedulers: int
    agents: int
    clients: int
    keep: Path | None = None

    @property
    def fleet(self) -> Fleet:
        """Who there is."""
        return Fleet.of(self.schedulers, self.agents, self.clients)

    @property
    def plan(self) -> tuple[Event, ...]:
        """What happens."""
        return make_plan(self.seed, seconds=self.seconds, gap_seconds=self.gap_seconds, fleet=self.fleet)

    @property
    def command(self) -> str:
        """What plays this plan again."""
        return (
            f"./dev storm --seed {self.seed} --seconds {self.seconds:g} --gap {self.gap_seconds:g} "
            f"--schedulers {self.schedulers} --agents {self.agents} --clients {self.clients}"
        )


@dataclass(slots=True)
class Storm:
    """One storm.

    Args:
        options: what it is like.
        say: told of everything as it happens, a line at a time.
    """

    options: Options
    say: Callable[[str], None]
    story: list[str] = field(default_factory=list)
    judge: Judge = field(default_factory=Judge)
    blows: Counter[tuple[Kind, str]] = field(default_factory=Counter)
    ended: int = 0
    _began: float = 0.0
    _grid: Grid | None = None

    def run(self) -> dict[str, Any]:
        """Live through it; what came of it."""
        started = self._began = time.monotonic()
        with open_folder() as folder, Proxy() as proxy:
            server = Server(Path(tempfile.mkdtemp(prefix="corpgrid-storm-")))
            try:
                troop = Troop(
                    folder,
                    fleet=self.options.fleet,
                    server=server,
                    proxy=proxy,
                    seed=self.options.seed,
                    note=self._note,
                )
                self._live(troop)
                facts = asyncio.run(self._verdict(troop))
                self._keep(troop)
            finally:
                server.remove()
        return {**facts, "wall_seconds": round(time.monotonic() - started, 1)}

    # -- the storm

    def _live(self, troop: Troop) -> None:
        try:
            with troop:
                self._note(f"{len(troop.schedulers)} schedulers and {len(troop.computers)} agents are up")
                self._blow_over(troop)
        except AssertionError as error:
            self.judge.fail(f"H1: {error}")

    def _blow_over(self, troop: Troop) -> None:
        """The storm, and its end; whatever breaks in it, all is healed before the processes are ended."""
        try:
            troop.begin()
            self._began = time.monotonic()
            self._play(troop)
            self._heal(troop)
        except Exception:  # noqa: BLE001 - it is told, and the verdict is spoken all the same
            self.judge.fail(f"H2: the storm itself failed: {traceback.format_exc()}")
            troop.heal()
        finally:
            troop.close()
            if self._grid is not None:
                self._grid.close()

    def _play(self, troop: Troop) -> None:
        """Carry out the plan."""
        moves: list[tuple[float, int, bool, Event]] = []
        for number, event in enumerate(self.options.plan):
            heapq.heappush(moves, (event.at, number, True, event))
            heapq.heappush(moves, (event.at + event.seconds, number, False, event))
        told = 0.0
        while moves or self._now < self.options.seconds:
            while moves and moves[0][0] <= self._now:
                _, _, begins, event = heapq.heappop(moves)
                self._move(troop, event, begins=begins)
            troop.watch()
            if self._now - told >= _TELL_SECONDS:
                told = self._now
                self._tell(troop)
            time.sleep(_LOOK_SECONDS)

    def _move(self, troop: Troop, event: Event, *, begins: bool) -> None:
        if begins:
            self._note(str(event))
            self.blows[event.kind, event.targets[0]] += 1
        for target in event.targets:
            if event.kind in PROCESS_KINDS:
                (troop.strike if begins else troop.restore)(event.kind, target)
            else:
                (troop.proxy.trouble if begins else troop.proxy.relieve)(event.kind, target)

    def _heal(self, troop: Troop) -> None:
        """Everything is well again: now all must come to its end."""
        self._note("the storm is over")
        troop.heal()
        since = SystemClock().now()
        self._until(
            troop, lambda: self._asked(troop, partial(_late, since)), _BACK_SECONDS, "L2: not all agents are back"
        )
        troop.finish()
        self._until(troop, lambda: self._unfinished(troop), _FINISH_SECONDS, "L1: not all jobs have ended")
        self._tell(troop)

    def _until(self, troop: Troop, met: Callable[[], str], seconds: float, rule: str) -> None:
        """Wait until nothing is left to wait for."""
        deadline = time.monotonic() + seconds
        while left := met():
            if time.monotonic() > deadline:
                self.judge.fail(f"{rule} {seconds:g} s after all faults: {left}")
                return
            troop.watch()
            time.sleep(_LOOK_SECONDS)

    def _unfinished(self, troop: Troop) -> str:
        clients = [name for name in troop.fleet.clients if troop.returncode(name) is None]
        return f"{', '.join(clients)} wait for their results" if clients else self._asked(troop, _running)

    def _asked(self, troop: Troop, ask: Callable[[Grid], str]) -> str:
        """What the grid says, past all lines, over a connection that is kept."""
        try:
            if self._grid is None:
                self._grid = troop.connect(timeout_seconds=_CALL_SECONDS)
            return ask(self._grid)
        except CorpGridError as error:
            return str(error)

    # -- the verdict

    async def _verdict(self, troop: Troop) -> dict[str, Any]:
        clients = [journal.read(troop.journal(name)) for name in troop.fleet.clients]
        agents = [journal.read(troop.journal(name)) for name in troop.fleet.agents]
        settings = StoreSettings(clock=SystemClock(), item_payload=item_payload, batch_blobs=batch_blobs)
        store = await PostgresStore.open(troop.dsn, settings)
        try:
            blobs = await LocalBlobs.at(troop.blobs)
            keyring = Keyring([troop.submitter.public])
            history = await self.judge.everything(store, blobs, keyring, clients=clients, agents=agents)
        finally:
            await store.close()
        for name in (*troop.fleet.schedulers, *troop.fleet.agents, *troop.fleet.clients):
            self.judge.log(name, troop.log(name))
        return self._facts(history, clients)

    def _facts(self, history: History, books: Sequence[Book]) -> dict[str, Any]:
        rows = [known.row for known in history.jobs.values()]
        told = Counter(line["what"] for book in books for line in book)
        return {
            "seed": self.options.seed,
            "seconds": self.options.seconds,
            "kills": self._count(Kind.KILL),
            "freezes": self._count(Kind.FREEZE),
            "lines": {kind.value: sum(self._count(kind).values()) for kind in Kind if kind not in PROCESS_KINDS},
            "ended_by_themselves": self.ended,
            "jobs": len(rows),
            "kinds": kinds_of(orders_of(books), [row.name for row in rows]),
            "tasks": sum(row.tasks for row in rows),
            "executions": sum(row.executions for row in rows),
            "attempts": sum(map(len, history.attempts.values())),
            "acknowledged": told[journal.SUBMITTED],
            "results_seen": told[journal.RESULT],
            "calls_failed": told[journal.TROUBLE],
            "lost": self.judge.counts["lost"],
            "doubled": self.judge.counts["doubled"],
            "wrong": self.judge.counts["wrong"],
            "violations": self.judge.violations,
            "longest_stall_s": round(longest_stall(books, begun_at=self._began), 2),
            "load_average": round(os.getloadavg()[0], 2),
        }

    def _count(self, kind: Kind) -> dict[str, int]:
        """Blows of a kind, by whom they hit."""
        counts: Counter[str] = Counter()
        for (which, target), times in self.blows.items():
            if which is kind:
                counts[target.split(">")[0].split("-")[0]] += times
        return dict(sorted(counts.items()))

    # -- the story

    @property
    def _now(self) -> float:
        return time.monotonic() - self._began

    def _note(self, text: str) -> None:
        self.ended += "ended by itself" in text
        line = f"{self._now:7.2f} s  {text}"
        self.story.append(line)
        self.say(line)

    def _tell(self, troop: Troop) -> None:
        told = Counter(line["what"] for name in troop.fleet.clients for line in journal.read(troop.journal(name)))
        acknowledged, seen = told[journal.SUBMITTED], told[journal.RESULT]
        self._note(f"{acknowledged} jobs acknowledged, {told[journal.ENDED]} ended, {seen} results seen")

    def last(self) -> list[str]:
        """The end of the story."""
        return self.story[-_STORY_EVENTS:]

    def _keep(self, troop: Troop) -> None:
        """Save logs, journals and the database for whoever looks into it."""
        if self.options.keep is None and not self.judge.violations:
            return
        target = self.options.keep or Path(tempfile.mkdtemp(prefix="corpgrid-storm-kept-"))
        target.mkdir(parents=True, exist_ok=True)
        for path in (*troop.folder.glob("*.log"), *troop.folder.glob("*.journal"), troop.server.log):
            shutil.copy2(path, target / (path.name if path.suffix else f"postgres.{path.name}"))
        with (target / "grid.sql").open("wb") as file:
            subprocess.run([programs() / "pg_dump", troop.dsn], stdout=file, check=True)
        self._note(f"logs, journals and the database are in {target}")


def _late(since: float, grid: Grid) -> str:
    """Agents that were not seen since then."""
    return ", ".join(device.name for device in grid.devices() if device.last_seen <= since)


def _running(grid: Grid) -> str:
    """Why some job has not ended."""
    running = [job for job in grid.jobs(limit=_MANY_JOBS) if job.state is JobState.RUNNING]
    return f"{running[0].name}: {grid.job(running[0].id).why().summary}" if running else ""
