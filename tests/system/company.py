"""A small company for tests: a scheduler and some computers, each a real process to be killed, stopped or unplugged.

    with Company(folder, computers={"one": {"owner": "ann"}}) as company, company.connect() as grid:
        job = grid.map(square, range(10))

Whatever a test does to it, nothing is left in the end (``leftovers``): no process or mount that has anything of the
company's folder in it, no control group of a runner, no temporary file.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from corpgrid.config import ClientConfig
from corpgrid.host.keyfiles import ensure_private_key, write_public_key
from corpgrid.sdk.client import Grid, connect
from corpgrid.trust.keys import PrivateKey
from tests.system.leftovers import groups_of, left_of, mounts, temporary_folder

PATIENCE_SECONDS = 60.0
SCHEDULER = "scheduler"
LEASE_SECONDS = 3.0
_STOP_SECONDS = 20.0
_OPEN_FOLDER = 0o711
_POLL_SECONDS = 0.01
_SCRATCH = ("runners", "staging", "jobs")

Settings = Mapping[str, Any]


def parent_of(process: psutil.Process) -> int | None:
    """A process's parent, or nothing once it has ended: runners come and go while a test looks."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.ppid()
    return None


def memory_of(process: psutil.Process) -> int:
    """Bytes that a process holds in memory; 0 once it has ended."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.memory_info().rss
    return 0


def wait_until(met: Callable[[], object], what: str, *, seconds: float = PATIENCE_SECONDS) -> float:
    """Wait until a condition is met; how long that took."""
    started = time.monotonic()
    while not met():
        assert time.monotonic() - started < seconds, f"not within {seconds:g} s: {what}"
        time.sleep(_POLL_SECONDS)
    return time.monotonic() - started


@contextlib.contextmanager
def open_folder() -> Iterator[Path]:
    """A folder that the job user can walk through; gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="corpgrid-test-", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(_OPEN_FOLDER)
        yield folder


class Company:
    """Its processes.  Leaving the block ends them, and asserts that nothing of them is left."""

    def __init__(
        self,
        folder: Path,
        *,
        computers: Mapping[str, Settings] | None = None,
        scheduler: Settings | None = None,
        trusted: tuple[str, ...] = (),
        limits: Settings | None = None,
        schedulers: Sequence[str] | Mapping[str, Settings] = (SCHEDULER,),
    ) -> None:
        self.folder = folder
        self.schedulers = tuple(schedulers)
        self.address = ",".join(map(self.address_of, schedulers))
        self.computers = computers if computers is not None else {"one": {}}
        self.keys: dict[str, PrivateKey] = {}
        self.submitter = ensure_private_key(folder / "submitter.pem")
        self._scheduler = scheduler or {}
        self._own = schedulers if isinstance(schedulers, Mapping) else {}
        self._limits = limits or {}
        self._trusted = trusted
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._temporary = temporary_folder(folder)
        self._mounts = mounts()
        self.agents: set[int] = set()

    def __enter__(self) -> Self:
        try:
            self._prepare()
            for name in (*self.schedulers, *self.computers):
                self.start(name)
            self._wait_registered()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            for name in (*self.schedulers, *self.computers):
                print(f"---- {name}\n{self.log(name)[-6000:]}")  # noqa: T201 - pytest shows it if the test fails
        slow = self._end()
        assert not slow, f"did not end within {_STOP_SECONDS:g} s: {slow}"
        if kind is None:
            wait_until(lambda: not self.left(), f"what is left: {self.left()}", seconds=5)
            assert not self.scratch(), self.scratch()

    # -- what happens to it

    def start(self, name: str) -> None:
        """Start a scheduler or a computer's agent; a scheduler is waited for."""
        with (self.folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [sys.executable, *self.program(name)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if name in self.schedulers else log,
                stderr=log,
                env={**os.environ, "TMPDIR": str(self._temporary)},
            )
        if name in self.schedulers:
            stdout = self._processes[name].stdout
            assert stdout is not None
            assert stdout.readline(), self.log(name)
        else:
            self.agents.add(self._processes[name].pid)

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send one of its processes a signal."""
        self._processes[name].send_signal(number)

    def kill(self, name: str) -> None:
        """``kill -9``, and wait until it is gone."""
        self.signal(name, signal.SIGKILL)
        self.ended(name)

    def ended(self, name: str) -> int:
        """Wait for the end of a process; its exit status."""
        process = self._processes[name]
        code = process.wait(_STOP_SECONDS)
        if process.stdout is not None:
            process.stdout.close()
        return code

    def unplug(self, name: str) -> None:
        """Pull a computer's plug."""
        write_power(self.folder / name / "power", mains=False)

    def plug_in(self, name: str) -> None:
        """Give it its mains power back."""
        write_power(self.folder / name / "power", mains=True)

    def owner_is_idle(self, name: str, seconds: float) -> None:
        """Say since when nobody has touched a computer."""
        replace_text(self.folder / name / "idle", str(seconds))

    # -- what it is like

    def program(self, name: str) -> Sequence[str]:
        """What Python is started with for one of its processes."""
        room = "scheduler" if name in self.schedulers else "agent"
        return ("-m", "corpgrid", room, "run", "--config", str(self.folder / f"{name}.toml"))

    def address_of(self, scheduler: str) -> str:
        """Where one of its schedulers listens."""
        return f"unix:{self.folder}/run/{scheduler}.sock"

    def connect(self, **changes: Any) -> Grid:
        """A client of its."""
        return connect(self.address, key=self.submitter, config=ClientConfig(**changes))

    def connect_to(self, scheduler: str) -> Grid:
        """A client of one of its schedulers alone."""
        return connect(self.address_of(scheduler), key=self.submitter, config=ClientConfig())

    def log(self, name: str) -> str:
        """What a process logged so far."""
        with contextlib.suppress(FileNotFoundError):
            return (self.folder / f"{name}.log").read_text(errors="replace")
        return ""

    def runners(self, name: str) -> list[psutil.Process]:
        """Every process of a runner on a computer, innermost last."""
        try:
            return psutil.Process(self._processes[name].pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def jobs_of(self, name: str) -> list[psutil.Process]:
        """The innermost process of each runner."""
        found = self.runners(name)
        parents = {parent_of(process) for process in found}
        return [process for process in found if process.pid not in parents]

    def device(self, name: str) -> str:
        """A computer's id."""
        return self.keys[name].public.device_id

    def left(self) -> list[str]:
        """What is left of its processes: themselves, their mounts, the control groups of their runners."""
        return [*left_of(self.folder, before=self._mounts), *map(str, groups_of(self.agents))]

    def scratch(self) -> list[Path]:
        """Temporary files of agents that ended."""
        folders = [self.folder / name / part for name in self.computers for part in _SCRATCH]
        folders.append(self._temporary)
        return [path for folder in folders if folder.is_dir() for path in folder.iterdir()]

    # -- inside

    def _prepare(self) -> None:
        for name in ("trusted_keys", "trusted_devices"):
            (self.folder / name).mkdir(mode=0o700)
        write_public_key(self.folder / "trusted_keys" / "submitter.pem", self.submitter.public)
        for name in self.schedulers:
            scheduler = {
                "folder": self.folder / SCHEDULER,
                "trusted_keys": self.folder / "trusted_keys",
                "trusted_devices": self.folder / "trusted_devices",
                "listen": self.address_of(name),
                "heartbeat_seconds": 0.5,
                "lease_ttl_seconds": LEASE_SECONDS,
                "sweep_seconds": 0.2,
                "reconnect_window_seconds": 1.0,
                **self._scheduler,
                **self._own.get(name, {}),
            }
            self._write_config(name, scheduler=scheduler, limits=self._limits)
        for name, settings in self.computers.items():
            self._prepare_computer(name, settings)

    def _prepare_computer(self, name: str, settings: Settings) -> None:
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        folder.chmod(_OPEN_FOLDER)
        self.plug_in(name)
        self.owner_is_idle(name, 1e6)
        self.keys[name] = ensure_private_key(folder / "device.pem")
        if name in self._trusted:
            write_public_key(self.folder / "trusted_devices" / f"{name}.pem", self.keys[name].public)
        agent = {
            "owner": f"owner-of-{name}",
            "name": name,
            "folder": folder,
            "address": self.address,
            "trusted_keys": self.folder / "trusted_keys",
            "power_root": folder / "power",
            "presence_file": folder / "idle",
            "mains_settle_seconds": 0,
            "thermal_headroom_min": 0,
            "capacity": 1,
            "probe_seconds": 0.1,
            **settings,
        }
        self._write_config(name, agent=agent, limits=self._limits)

    def _write_config(self, name: str, **sections: Settings) -> None:
        lines = []
        for section, values in sections.items():
            lines.append(f"[{section}]")
            lines += [f"{key} = {json.dumps(str(v) if isinstance(v, Path) else v)}" for key, v in values.items()]
        (self.folder / f"{name}.toml").write_text("\n".join(lines) + "\n")

    def _wait_registered(self) -> None:
        with self.connect() as grid:
            wait_until(lambda: len(grid.devices()) == len(self.computers), "all computers are registered")

    def _end(self) -> list[str]:
        """End every process; the names of those that had to be killed."""
        slow = []
        for name, process in reversed(self._processes.items()):
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
            try:
                self.ended(name)
            except subprocess.TimeoutExpired:
                slow.append(name)
                self.kill(name)
        return slow


def write_power(folder: Path, *, mains: bool) -> None:
    """A power supply tree like the kernel's: mains and a battery."""
    supplies = {
        "BAT0": {"type": "Battery", "scope": "System", "present": "1", "capacity": "97", "status": "Full"},
        "AC": {"type": "Mains", "online": "1" if mains else "0"},
    }
    for supply, values in supplies.items():
        (folder / supply).mkdir(parents=True, exist_ok=True)
        for name, value in values.items():
            replace_text(folder / supply / name, value)


def replace_text(path: Path, text: str) -> None:
    """Write a small file in one step, so that nobody reads half of it."""
    partial = path.with_name(f".{path.name}.new")
    partial.write_text(text + "\n")
    partial.replace(path)
