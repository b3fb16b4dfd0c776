"""The office of the demo: a scheduler and three computers, each a real process with a real sandbox.

* the **desktop** belongs to the operator: it is trusted to arbitrate;
* the **laptop** has a power supply that can be unplugged: a folder that looks like the kernel's;
* the **liar** changes every fifth of its results.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from corpgrid.errors import UnavailableError
from corpgrid.host.keyfiles import ensure_private_key, write_public_key
from corpgrid.trust.keys import PrivateKey

_START_SECONDS = 30.0
_STOP_SECONDS = 10.0
_SAID_CHARACTERS = 2_000
_OPEN_FOLDER = 0o711
_PRIVATE_FOLDER = 0o700

Program = tuple[str, ...]
"""What Python is started with, up to its configuration."""
_SCHEDULER: Program = ("-m", "corpgrid", "scheduler", "run", "--with-parent", "--json")
_AGENT: Program = ("-m", "corpgrid", "agent", "run", "--with-parent")
_PROGRAMS: Mapping[str, Program] = {"scheduler": _SCHEDULER, "liar": ("-m", "corpgrid.cli.demo.liar")}

AGENTS: Mapping[str, Mapping[str, Any]] = {
    "desktop": {"owner": "it-department", "site": "office"},
    "laptop": {"owner": "bob", "site": "office"},
    "liar": {"owner": "mallory", "site": "branch"},
}


class Office:
    """The processes of the demo.  Use it in a ``with`` statement: nothing survives it.

    Args:
        folder: where everything is kept.
        agents: settings of each computer, by its name.
        scheduler: more settings of the scheduler.
        programs: what to start in place of the scheduler or an agent, by its name.
    """

    def __init__(
        self,
        folder: Path,
        agents: Mapping[str, Mapping[str, Any]] = AGENTS,
        *,
        scheduler: Mapping[str, Any] | None = None,
        programs: Mapping[str, Program] | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(_OPEN_FOLDER)
        self._folder = folder
        self._agents = agents
        self._scheduler = scheduler or {}
        self._programs = {**_PROGRAMS, **(programs or {})}
        self.address = f"unix:{folder}/run/grid.sock"
        self.key = folder / "submitter.pem"
        self.devices: dict[str, str] = {}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._logs: list[Any] = []

    def __enter__(self) -> Self:
        """Start everything."""
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End everything."""
        self.close()

    def close(self) -> None:
        """End every process: the scheduler last."""
        for process in reversed(self._processes.values()):
            if process.stdin is not None:
                process.stdin.close()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()
        self._processes.clear()
        for log in self._logs:
            log.close()

    def unplug(self, name: str) -> float:
        """Pull a computer's plug; seconds until nothing of any job is left on it."""
        agent = psutil.Process(self._processes[name].pid)
        started = time.perf_counter()
        _plug(self._folder / name / "power", online=False)
        while agent.children(recursive=True):
            if time.perf_counter() - started > _START_SECONDS:
                raise UnavailableError(f"{name} went on working on battery: see {self._folder}/{name}.log")
            time.sleep(0.002)
        return time.perf_counter() - started

    def plug_in(self, name: str) -> None:
        """Give a computer its mains power back."""
        _plug(self._folder / name / "power", online=True)

    def works(self, name: str) -> bool:
        """Whether a runner is up on a computer."""
        return bool(psutil.Process(self._processes[name].pid).children())

    def pid(self, name: str) -> int:
        """The process of the scheduler, or of a computer."""
        return self._processes[name].pid

    def said(self, name: str) -> str:
        """The end of a process's log, and whether it still runs."""
        code = self._processes[name].poll()
        state = "running" if code is None else f"ended with {code}"
        log = (self._folder / f"{name}.log").read_text(errors="replace")[-_SAID_CHARACTERS:]
        return f"The {name} ({state}) said: {log.strip() or 'nothing'}"

    def _start(self) -> None:
        submitter = ensure_private_key(self.key)
        trusted_keys, trusted_devices = self._folder / "trusted_keys", self._folder / "trusted_devices"
        for folder in (trusted_keys, trusted_devices):
            folder.mkdir(mode=_PRIVATE_FOLDER, exist_ok=True)
        write_public_key(trusted_keys / "submitter.pem", submitter.public)
        keys = {name: self._prepare(name) for name in self._agents}
        if "desktop" in keys:
            write_public_key(trusted_devices / "desktop.pem", keys["desktop"].public)
        self.devices = {key.public.device_id: name for name, key in keys.items()}
        scheduler = {
            "folder": self._folder / "scheduler",
            "trusted_keys": trusted_keys,
            "trusted_devices": trusted_devices,
            "listen": self.address,
            "heartbeat_seconds": 1.0,
            "lease_ttl_seconds": 4.0,
            **self._scheduler,
        }
        self._spawn("scheduler", *self._programs["scheduler"], scheduler=scheduler)
        self._wait_ready("scheduler")
        for name, about in self._agents.items():
            agent = {
                **about,
                "name": name,
                "folder": self._folder / name,
                "address": self.address,
                "trusted_keys": trusted_keys,
                "power_root": self._folder / name / "power",
                "idle_seconds": 0,
                "mains_settle_seconds": 0,
                "capacity": 1,
                "thermal_headroom_min": 0,
            }
            self._spawn(name, *self._programs.get(name, _AGENT), agent=agent)

    def _prepare(self, name: str) -> PrivateKey:
        folder = self._folder / name
        folder.mkdir()
        folder.chmod(_OPEN_FOLDER)
        _plug(folder / "power", online=True)
        return ensure_private_key(folder / "device.pem")

    def _spawn(self, name: str, *program: str, **sections: Mapping[str, Any]) -> None:
        config = self._folder / f"{name}.toml"
        config.write_text(_toml(sections), encoding="utf-8")
        log = (self._folder / f"{name}.log").open("wb")
        self._logs.append(log)
        self._processes[name] = subprocess.Popen(
            [sys.executable, *program, "--config", str(config)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if name == "scheduler" else log,
            stderr=log,
        )

    def _wait_ready(self, name: str) -> None:
        stdout = self._processes[name].stdout
        assert stdout is not None
        if not stdout.readline():
            raise UnavailableError(f"the {name} did not start", remedy=self.said(name))


def _plug(folder: Path, *, online: bool) -> None:
    """Write a power supply tree like the kernel's: mains and a battery."""
    supplies = {
        "AC": {"type": "Mains", "online": "1" if online else "0"},
        "BAT0": {
            "type": "Battery",
            "scope": "System",
            "present": "1",
            "status": "Full" if online else "Discharging",
            "capacity": "97",
        },
    }
    for supply, values in supplies.items():
        (folder / supply).mkdir(parents=True, exist_ok=True)
        for name, value in values.items():
            (folder / supply / name).write_text(value + "\n", encoding="ascii")


def _toml(sections: Mapping[str, Mapping[str, Any]]) -> str:
    lines = []
    for section, values in sections.items():
        lines.append(f"[{section}]")
        lines += [f"{name} = {_toml_value(value)}" for name, value in values.items()]
    return "\n".join(lines) + "\n"


def _toml_value(value: Any) -> str:
    return json.dumps(str(value) if isinstance(value, Path) else value)
