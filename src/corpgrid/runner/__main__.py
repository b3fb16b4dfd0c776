"""The process that executes tasks, inside the sandbox.

* It believes the agent and nobody else.  What it runs is a stranger in the same process: so nothing here is a secret
  or a guard; the sandbox around it and the agent outside are.
* Standard input and output are the control pipes.  They move to private descriptors before anything of the job is
  loaded; the job sees ``/dev/null`` as its input, and its output goes to the log.
* One load, then lists of tasks, one task at a time, in order.  After each task a mark is written to the log, so that
  the agent knows whose words are whose and how far the runner is.
* A task pays for itself alone: what every task needs is done once, at the load.
"""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import os
import select
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from corpgrid import __version__
from corpgrid.runner.engines import registry
from corpgrid.runner.execution import Execution
from corpgrid.runner.outbox import Outbox
from corpgrid.runner.results import failure_of
from corpgrid.runner.workspace import Workspace
from corpgrid.wire.frames import Frame, FrameReader, encode_frame

_READ_BYTES = 64 << 10
_SPARE_SECONDS = 0.05
"""A runner that has no job by then is a spare."""
_WARM = ("cloudpickle", "traceback", "corpgrid.runner.engines.python")


def main(*, job: str, work: str) -> None:
    """Serve until the agent says stop or goes away."""
    control_in, control_out, log = _take_pipes()
    faulthandler.enable(file=log, all_threads=False)
    outbox = Outbox(control_out)
    runner = Runner(outbox, log=log, job=job, workspace=Workspace(work))
    outbox.send(
        encode_frame("ready", {"python": f"{sys.version_info[0]}.{sys.version_info[1]}", "version": __version__})
    )
    _warm_up(control_in)
    for frame in _frames(control_in):
        if not runner.handle(frame):
            break
    _flush_streams()
    os._exit(0)  # threads that the job left behind have no say in when a runner ends


class Runner:
    """Carries out frames."""

    def __init__(self, outbox: Outbox, *, log: int, job: str, workspace: Workspace) -> None:
        self._outbox = outbox
        self._log = log
        self._job = job
        self._workspace = workspace
        self._execution: Execution | None = None
        self._mark = b""
        self._pid = os.getpid()

    def handle(self, frame: Frame) -> bool:
        """Do what the frame says; False when it says stop."""
        match frame:
            case [
                "load",
                {"engine": str(engine), "entry": dict(entry), "limits": dict(limits), "log_nonce": bytes(nonce)},
            ]:
                self._mark = b"\0" + nonce
                self._outbox.send(self._load(engine, entry, limits))
            case ["run", [*tasks]]:
                self._run(tasks)
            case ["stop"]:
                return False
            case _:
                raise AssertionError(f"the agent sent {frame[0]!r}, which no runner understands")
        return True

    def _load(self, engine: str, entry: Mapping[str, Any], limits: Mapping[str, Any]) -> bytes:
        importlib.invalidate_caches()  # the job's files may have come after this process started
        try:
            self._workspace.enter()
            function = registry.load(engine, entry, job=self._job, limits=limits)
        except BaseException as cause:  # noqa: BLE001 - a module may raise anything while it is imported
            return encode_frame("load_failed", *failure_of(cause))
        finally:
            _flush_streams()
        self._execution = Execution(function, workspace=self._workspace, result_bytes=limits["result_bytes"])
        return encode_frame("loaded")

    def _run(self, tasks: list[list[Any]]) -> None:
        execution = self._execution
        assert execution is not None, "the agent loads before it runs"
        for count, (index, attempt, item) in enumerate(tasks, start=1):
            done = execution.run(index, attempt, item)
            if os.getpid() != self._pid:
                os._exit(0)  # the task forked, and its child came back: one of them goes on
            _flush_streams()
            os.write(self._log, b"%b%d.%d\0\n" % (self._mark, index, attempt))
            self._outbox.add(done, more=count < len(tasks))
        self._outbox.flush()


def _take_pipes() -> tuple[int, int, int]:
    """Private control input, control output and log; what the job sees is ``/dev/null`` and the log."""
    control_in, control_out, log = os.dup(0), os.dup(1), os.dup(2)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(log, 1)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)  # type: ignore[union-attr]
    return control_in, control_out, log


def _warm_up(control_in: int) -> None:
    """While no job waits, import what most jobs need."""
    waiting, _, _ = select.select([control_in], [], [], _SPARE_SECONDS)
    if not waiting:
        for name in _WARM:
            importlib.import_module(name)


def _frames(control_in: int) -> Iterator[Frame]:
    reader = FrameReader()
    while data := os.read(control_in, _READ_BYTES):
        yield from reader.feed(data)


def _flush_streams() -> None:
    """What the job printed must be in the log before the mark."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:  # noqa: BLE001 - the job may have broken its streams: each for itself then
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(BaseException):
                stream.flush()
