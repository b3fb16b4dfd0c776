"""A grid of the tests' own: embedded in this process, or ``corpgrid up`` beside it and a shell to talk to it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import corpgrid
from tests.system.company import open_folder, wait_until
from tests.system.leftovers import left_of

_STOP_SECONDS = 30.0


@contextlib.contextmanager
def embedded_grid() -> Iterator[corpgrid.Grid]:
    """A grid of this process; nothing of it is left afterwards."""
    with corpgrid.connect() as grid:
        assert grid._embedded is not None
        folder = grid._embedded.ready.folder
        yield grid
    assert not folder.exists()
    assert left_of(folder) == []


class Shell:
    """The command line, as a user's shell has it."""

    def __init__(self, folder: Path, variables: Mapping[str, str]) -> None:
        self.folder = folder
        self.environ = {**os.environ, **variables}

    def run(self, *arguments: str, cwd: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
        """``corpgrid ARGUMENTS``, to its end."""
        return subprocess.run(
            [sys.executable, "-m", "corpgrid", *arguments],
            env={**self.environ, **variables},
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """``corpgrid ARGUMENTS``, going on beside the test."""
        return subprocess.Popen(
            [sys.executable, "-m", "corpgrid", *arguments],
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def text(self, *arguments: str, status: int = 0) -> str:
        """What it prints; its exit status must be this."""
        done = self.run(*arguments)
        assert done.returncode == status, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def json(self, *arguments: str, status: int = 0) -> Any:
        """What it prints with ``--json``, and that must be all that it prints."""
        return json.loads(self.text(*arguments, "--json", status=status), parse_constant=_no_constant)

    def error(self, *arguments: str, status: int) -> Any:
        """The error that it prints with ``--json``; nothing else is printed."""
        done = self.run(*arguments, "--json")
        assert done.returncode == status, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        error = json.loads(done.stderr)
        assert error["exit"] == status
        assert error["message"]
        return error


def _no_constant(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


@contextlib.contextmanager
def grid_beside() -> Iterator[Shell]:
    """``corpgrid up`` in a folder of its own; it ends well, and nothing of it is left."""
    with open_folder() as folder:
        root = folder / "grid"
        with (folder / "up.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "corpgrid", "up", "--folder", str(root), "--json"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        try:
            assert process.stdout is not None
            told = json.loads(process.stdout.readline())
            variables = {"CORPGRID_CLIENT_ADDRESS": told["address"], "CORPGRID_CLIENT_KEY_FILE": told["key"]}
            yield Shell(folder, variables)
        finally:
            process.send_signal(signal.SIGINT)
            code = process.wait(_STOP_SECONDS)
            if process.stdout is not None:
                process.stdout.close()
        assert code == 0, (folder / "up.log").read_text()
        wait_until(lambda: not left_of(root), "nothing of the grid is left", seconds=5)


@contextlib.contextmanager
def up(folder: Path, agents: int = 1) -> Iterator[tuple[subprocess.Popen[bytes], str, Path]]:
    """``corpgrid up``, its address and its key."""
    argv = [sys.executable, "-m", "corpgrid", "up", "--folder", str(folder), "--with-parent", "--json"]
    with (folder / "up.log").open("wb") as log:
        process = subprocess.Popen(
            [*argv, "--agents", str(agents)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log
        )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        told = json.loads(process.stdout.readline())
        yield process, told["address"], Path(told["key"])
    finally:
        process.stdin.close()
        process.wait(20)
        process.stdout.close()
