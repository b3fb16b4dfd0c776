"""A runner as a plain process, and the agent's half of the conversation, without an event loop."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Self

import cloudpickle

from corpgrid.agent.runner_spec import ENVIRONMENT, START
from corpgrid.domain.job import Limits
from corpgrid.wire import data
from corpgrid.wire.frames import Done, Frame, FrameReader, encode_frame, read_done

NONCE = b"n0nce"


class PlainRunner:
    """One runner process; its folders lie below ``root``."""

    def __init__(self, runtime: Path, root: Path, *, environment: str = "") -> None:
        self.job, self.work = root / "job", root / "work"
        self.job.mkdir(exist_ok=True)
        self.work.mkdir(exist_ok=True)
        seen = {"/runtime/start.py": runtime / "start.py", "/job": self.job, "/work": self.work}
        seen["/env"] = environment or root / "env"
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the runner
        self.process = subprocess.Popen(
            [sys.executable, *(str(seen.get(word, word)) for word in START)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=dict(ENVIRONMENT),
        )
        self._frames: list[Frame] = []
        self._reader = FrameReader()
        self.ready = self.next_frame()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
        self._log.close()

    @property
    def log(self) -> bytes:
        return os.pread(self._log.fileno(), 1 << 24, 0)

    def send(self, kind: str, *fields: Any) -> None:
        self.process.stdin.write(encode_frame(kind, *fields))
        self.process.stdin.flush()

    def next_frame(self) -> Frame:
        while not self._frames:
            chunk = os.read(self.process.stdout.fileno(), 1 << 16)
            assert chunk, f"the runner is gone: {self.log.decode(errors='replace')}"
            self._frames += self._reader.feed(chunk)
        return self._frames.pop(0)

    def load(self, engine: str, entry: dict[str, Any], *, result_bytes: int = Limits().result_bytes) -> Frame:
        limits = {"result_bytes": result_bytes}
        self.send("load", {"engine": engine, "entry": entry, "limits": limits, "log_nonce": NONCE})
        return self.next_frame()

    def load_function(self, function: Any, **limits: int) -> None:
        (self.job / "function.pkl").write_bytes(cloudpickle.dumps(function))
        answer = self.load("python", {"kind": "function", "file": "function.pkl"}, **limits)
        assert answer == ["loaded"], answer

    def load_command(self, *argv: str, **limits: int) -> None:
        assert self.load("command", {"kind": "command", "argv": list(argv)}, **limits) == ["loaded"]

    def run_items(self, *items: bytes, attempt: int = 0) -> list[Done]:
        self.send("run", [[index, attempt, item] for index, item in enumerate(items)])
        done: list[Done] = []
        while len(done) < len(items):
            done += read_done(self.next_frame())
        return done

    def run(self, *values: Any, attempt: int = 0) -> list[Done]:
        return self.run_items(*(item(value) for value in values), attempt=attempt)

    def result(self, value: Any) -> Any:
        (done,) = self.run(value)
        assert done.ok, done.detail
        return data.decode(done.payload)


def item(value: Any) -> bytes:
    return b"d" + data.encode(value)


def pickled(value: Any) -> bytes:
    return b"p" + cloudpickle.dumps(value)


def mark(index: int, attempt: int = 0) -> bytes:
    return b"\0" + NONCE + b"%d.%d\0\n" % (index, attempt)
