"""A grid of one's own for as long as a program runs: ``corpgrid up`` as a child process on a private socket.

* The child ends when its standard input does, and removes its folder then: it never outlives the program that started
  it, however that ends, and leaves nothing behind.
* It is in a session of its own: a Ctrl-C in the terminal reaches the program, which decides what to do with its grid.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any, NamedTuple

from corpgrid.agent.removal import remove_tree
from corpgrid.errors import CorpGridError
from corpgrid.sdk.child_error import SAID_BYTES, child_error

_STOP_SECONDS = 15.0


class Ready(NamedTuple):
    """What a started grid says of itself: where it listens, the key that its agents trust, and where it keeps both."""

    address: str
    key: Path
    folder: Path


class EmbeddedGrid:
    """A running child grid; ``close`` ends it.

    Args:
        agents: how many agents it has.
        start_seconds: how long it may take until it is ready.

    Raises:
        CorpGridError: it did not start, and this is why.
    """

    def __init__(self, *, agents: int, start_seconds: float) -> None:
        self._pid = os.getpid()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the grid
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-P",
                "-m",
                "corpgrid",
                "up",
                "--temporary",
                "--with-parent",
                "--json",
                f"--agents={agents}",
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            start_new_session=True,
        )
        self._folder: Path | None = None
        atexit.register(self.close)
        try:
            self.ready = self._wait_ready(start_seconds)
        except BaseException:
            self.close()
            raise
        self._folder = self.ready.folder

    def failure(self) -> CorpGridError | None:
        """Why it ended by itself, if it did."""
        if self._process.poll() is None:
            return None
        return child_error(self._said(), f"the embedded grid ended by itself (exit status {self._process.returncode})")

    def close(self) -> None:
        """End the grid and wait until nothing of it is left; a second call does nothing."""
        if os.getpid() != self._pid:  # a fork of the program that owns it
            return
        atexit.unregister(self.close)
        with contextlib.suppress(OSError):
            _pipe(self._process.stdin).close()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        _pipe(self._process.stdout).close()
        self._log.close()
        if self._folder is not None:
            remove_tree(self._folder)

    def _wait_ready(self, seconds: float) -> Ready:
        late = threading.Event()

        def give_up() -> None:
            late.set()
            self._process.kill()

        timer = threading.Timer(seconds, give_up)
        timer.daemon = True
        timer.start()
        try:
            line = _pipe(self._process.stdout).readline()
        finally:
            timer.cancel()
        try:
            told = json.loads(line)
            return Ready(address=told["address"], key=Path(told["key"]), folder=Path(told["folder"]))
        except (ValueError, KeyError, TypeError):
            self._process.wait(_STOP_SECONDS)
            after = f" within {seconds:g} s (grid.start_seconds)" if late.is_set() else ""
            raise child_error(self._said(), f"the embedded grid did not start{after}") from None

    def _said(self) -> str:
        size = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(size - SAID_BYTES, 0))
        return self._log.read().decode(errors="replace")


def _pipe(pipe: Any) -> Any:
    assert pipe is not None, "both were asked for"
    return pipe
