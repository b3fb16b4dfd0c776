"""Everybody in a storm: schedulers, agents, clients and PostgreSQL as processes, with a line between any two that talk.

Whoever is dead but need not be is started again, as an init system would: a scheduler that could not reach its database
ends, and is started until it can.  Starting takes seconds, and is done beside what else happens; PostgreSQL is started
by the thread that made it, which it does not outlive.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP

import psutil
from benchmarks.storm.plan import DATABASE, Fleet, Kind
from benchmarks.storm.proxy import Proxy
from tests.postgres.server import Server
from tests.system.company import Company

_POSTGRES_SOCKET = ".s.PGSQL.5432"
_AGAIN_SECONDS = 0.5
LEASE_SECONDS = 3.0
_CALL_SECONDS = 4.0
_GRACE_SECONDS = 12.0
"""How old a blob that nothing names must be: a few times what a call takes, and shorter than a storm."""


class Troop(Company):
    """All processes.

    Args:
        folder: where all but the database is.
        fleet: who there is.
        server: the database server, made by the thread that plays the storm.
        proxy: where the lines are.
        seed: of the clients.
        note: told what happens.
    """

    def __init__(  # noqa: PLR0913 - what a troop stands on, by name
        self, folder: Path, *, fleet: Fleet, server: Server, proxy: Proxy, seed: int, note: Callable[[str], None]
    ) -> None:
        self.fleet = fleet
        self.server = server
        self.proxy = proxy
        self.database = server.create()
        self._seed = seed
        self._stop = folder / "stop"
        self._note = note
        self._down: set[str] = set()
        self._frozen: set[str] = set()
        self._starting: dict[str, threading.Event] = {}
        self._starters = ThreadPoolExecutor(len(fleet.schedulers) + 2, thread_name_prefix="storm-start")
        socket = server.data / _POSTGRES_SOCKET
        stores = {name: {"store": self._through(proxy.add(f"{name}>{DATABASE}", socket))} for name in fleet.schedulers}
        sockets = {name: folder / "run" / f"{name}.sock" for name in fleet.schedulers}
        self._lines = {
            near: ",".join(f"127.0.0.1:{proxy.add(f'{near}>{name}', path)}" for name, path in sockets.items())
            for near in (*fleet.agents, *fleet.clients)
        }
        super().__init__(
            folder,
            computers={name: {"address": self._lines[name]} for name in fleet.agents},
            schedulers=stores,
            scheduler={"lease_ttl_seconds": LEASE_SECONDS, "blob_grace_seconds": _GRACE_SECONDS},
            limits={"call_seconds": _CALL_SECONDS},
        )

    @property
    def dsn(self) -> str:
        """The database, past all trouble."""
        return self.server.dsn(self.database)

    @property
    def blobs(self) -> Path:
        """Where the schedulers keep blobs."""
        return self.folder / "scheduler" / "blobs"

    def journal(self, name: str) -> Path:
        """What a client or an agent wrote down."""
        return self.folder / f"{name}.journal"

    def program(self, name: str) -> Sequence[str]:
        """What Python is started with."""
        config = str(self.folder / f"{name}.toml")
        if name in self.fleet.schedulers:
            return ("-m", "benchmarks.storm.programs", "scheduler", config)
        if name in self.fleet.agents:
            return ("-m", "benchmarks.storm.programs", "agent", config, str(self.journal(name)))
        return (
            *("-m", "benchmarks.storm.client", "--name", name, "--address", self._lines[name]),
            *("--key", str(self.folder / "submitter.pem"), "--journal", str(self.journal(name))),
            *("--stop", str(self._stop), "--seed", str(self._seed), "--temper", str(self.fleet.clients.index(name))),
        )

    # -- what is done to them

    def strike(self, kind: Kind, target: str) -> None:
        """Kill or freeze one of them."""
        if kind is Kind.FREEZE:
            self._frozen.add(target)
            self._send(target, SIGSTOP)
            return
        self._down.add(target)
        self._send(target, SIGKILL)
        if target == DATABASE:
            self.server.stop(SIGKILL)

    def restore(self, kind: Kind, target: str) -> None:
        """Undo it; nothing, if it is undone."""
        if kind is Kind.FREEZE and target in self._frozen:
            self._frozen.discard(target)
            self._send(target, SIGCONT)
        elif kind is Kind.KILL and target in self._down:
            if target == DATABASE:
                self.server.restart()
            self._down.discard(target)

    def watch(self) -> None:
        """Start whoever is dead and need not be."""
        for name in (*self.fleet.schedulers, *self.fleet.agents, *self.fleet.clients):
            starting = self._starting.get(name)
            if name in self._down or (starting is not None and not starting.is_set()):
                continue
            code = self.returncode(name)
            if code is None or (code == 0 and name in self.fleet.clients):
                continue
            if code != -SIGKILL:
                self._note(f"{name} ended by itself ({code})")
            done = self._starting[name] = threading.Event()
            self._starters.submit(self._start_again, name, done)

    def heal(self) -> None:
        """Undo all that was done, and wait until everybody runs."""
        self.proxy.heal()
        for name in list(self._frozen):
            self.restore(Kind.FREEZE, name)
        for name in list(self._down):
            self.restore(Kind.KILL, name)

    def begin(self) -> None:
        """Start the clients."""
        for name in self.fleet.clients:
            self.start(name)

    def finish(self) -> None:
        """Tell clients to submit no more, those too that are being started."""
        self._stop.touch()

    def returncode(self, name: str) -> int | None:
        """How a process ended, or None."""
        return self._processes[name].poll()

    def close(self) -> None:
        """Start nobody any more."""
        self._down.update((*self.fleet.schedulers, *self.fleet.agents, *self.fleet.clients))
        self._starters.shutdown()

    # -- inside

    def _start_again(self, name: str, done: threading.Event) -> None:
        try:
            self._ended_output(name)
            self.start(name)
            self._note(f"{name} is up again")
        except AssertionError:
            # It ended before it was ready; the next look starts it again.
            done.wait(_AGAIN_SECONDS)
        finally:
            done.set()

    def _ended_output(self, name: str) -> None:
        stdout = self._processes[name].stdout
        if stdout is not None:
            stdout.close()

    def _send(self, name: str, number: int) -> None:
        for process in self._processes_of(name):
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def _processes_of(self, name: str) -> list[psutil.Process]:
        """One process; of the database all, the first one first."""
        with suppress(psutil.NoSuchProcess):
            if name != DATABASE:
                return [psutil.Process(self._processes[name].pid)]
            first = psutil.Process(self.server.process.pid)
            return [first, *first.children(recursive=True)]
        return []

    def _through(self, port: int) -> str:
        return f"postgresql://postgres@127.0.0.1:{port}/{self.database}?sslmode=disable"
