"""One task: item in, record out.  This is the path whose cost every task pays, so it does nothing twice.

An item is a tag byte and a body: ``d`` and ``wire.data``, or ``p`` and a pickle.  The pickle was signed by the
submitter and is opened here alone, inside the sandbox.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from time import perf_counter
from typing import Any

from corpgrid.errors import MalformedDataError
from corpgrid.runner import context
from corpgrid.runner.results import Failure, encode_result, failure_of
from corpgrid.runner.workspace import Workspace
from corpgrid.wire import data
from corpgrid.wire.frames import Done

TaskFunction = Callable[[Any], Any]

_DATA, _PICKLE = b"d"[0], b"p"[0]


class Execution:
    """A loaded job: runs its tasks, one after the other."""

    def __init__(self, function: TaskFunction, *, workspace: Workspace, result_bytes: int) -> None:
        self._function = function
        self._workspace = workspace
        self._result_bytes = result_bytes

    def run(self, index: int, attempt: int, item: bytes) -> Done:
        """Run one task; whatever it raises becomes its record."""
        context.enter(index, attempt)
        payload, reason, detail = b"", "", ""
        started = perf_counter()
        try:
            payload = encode_result(self._function(read_item(item)), result_bytes=self._result_bytes)
        except BaseException as cause:  # noqa: BLE001 - SystemExit and the like end a task, not its runner
            reason, detail = failure_of(cause)
        seconds = perf_counter() - started
        has_outputs = False
        try:
            has_outputs = self._workspace.set_aside(index, attempt)
        except OSError as cause:
            payload, reason, detail = b"", "outputs", f"its working folder cannot be set aside: {cause}"
        return Done(index, attempt, not reason, payload, reason, detail, seconds, has_outputs)


def read_item(item: bytes) -> Any:
    """The value of an item.

    Raises:
        Failure: the bytes are no item.
    """
    tag = item[0] if item else 0
    if tag == _DATA:
        try:
            return data.decode(memoryview(item)[1:])
        except MalformedDataError as cause:
            raise Failure("argument", cause.explain()) from None
    if tag == _PICKLE:
        return pickle.loads(memoryview(item)[1:])  # noqa: S301 - signed by the submitter, opened inside the sandbox
    raise Failure("argument", f"an item starts with d or p, and this one with {item[:1]!r}")
