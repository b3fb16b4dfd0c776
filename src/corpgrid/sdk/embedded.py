"""A grid of one's own for as long as a program runs: ``corpgrid up`` as a child process, on a socket nobody else can
open.

The child ends when its standard input does, so that it never outlives the program that started it, however that ends.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from corpgrid.errors import UnavailableError

_STOP_SECONDS = 15


class Ready(NamedTuple):
    """What a started grid says of itself: where it listens, and the key that its agents trust."""

    address: str
    key: Path


class EmbeddedGrid:
    """A running child grid; ``close`` ends it and removes what it kept."""

    def __init__(self, *, agents: int = 1) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="corpgrid-"))
        # The job user must be able to walk through it; what is private below it is closed by its own mode.
        self._folder.chmod(0o711)
        self._log = (self._folder / "up.log").open("wb")
        command = [sys.executable, "-m", "corpgrid", "up", "--folder", str(self._folder), "--with-parent", "--json"]
        self._process = subprocess.Popen(
            [*command, "--agents", str(agents)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log
        )
        self.ready = self._wait_ready()

    def close(self) -> None:
        """End the grid and wait until nothing of it is left."""
        with contextlib.suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._log.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _wait_ready(self) -> Ready:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        try:
            told = json.loads(line)
            return Ready(address=told["address"], key=Path(told["key"]))
        except (ValueError, KeyError, TypeError):
            self._process.kill()
            self._process.wait()
            said = (self._folder / "up.log").read_text(errors="replace").strip()
            self.close()
            raise UnavailableError(f"the embedded grid did not start: {said[-2000:]}") from None
