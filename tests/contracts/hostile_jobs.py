"""Jobs that attack the agent through the pipes of their runner; they run in the runner, and import what is there."""

from __future__ import annotations

import gc
import os
import signal
import struct
import time
from collections.abc import Callable
from typing import Any

from corpgrid.wire.frames import encode_frame

RESULT_BYTES = 16 << 20


def control_pipe() -> int:
    """The runner's control output, as a hostile job would look for it."""
    from corpgrid.runner.outbox import Outbox

    (found,) = [each for each in gc.get_objects() if type(each) is Outbox]
    return found._control_out


def forge(kind: str, *fields: Any) -> None:
    os.write(control_pipe(), encode_frame(kind, *fields))


def record(index: int, attempt: int = 1, **fields: Any) -> list[Any]:
    shape = {"index": index, "attempt": attempt, "ok": True, "payload": b"\xc0", "reason": "", "detail": ""}
    return list((shape | {"seconds": 0.0, "has_outputs": False} | fields).values())


ATTACKS: dict[str, Callable[[], object]] = {
    "garbage": lambda: os.write(control_pipe(), b"\xff" * 64),
    "oversize": lambda: os.write(control_pipe(), struct.pack(">I", 2**31)),
    "no frame": lambda: os.write(control_pipe(), struct.pack(">I", 3) + b"\x93\xdd\xff"),
    "unknown kind": lambda: forge("hello"),
    "loaded again": lambda: forge("loaded"),
    "ready again": lambda: forge("ready", {"python": "9.9", "version": "9"}),
    "unknown task": lambda: forge("done", [record(77)]),
    "unknown attempt": lambda: forge("done", [record(1, 9)]),
    "a later task": lambda: forge("done", [record(2)]),
    "twice": lambda: forge("done", [record(1), record(1)]),
    "a result beyond the limit": lambda: forge("done", [record(1, payload=b"x" * (RESULT_BYTES + 1))]),
    "no record": lambda: forge("done", [[1, 2]]),
    "a reason that is none": lambda: forge("done", [record(1, ok=False, payload=b"", reason="\x1b]0;x")]),
}


def attacker(attack: str) -> Callable[[int], int]:
    def task(x: int) -> int:
        if x == 1:
            ATTACKS[attack]()
            time.sleep(60)
        return x

    return task


def closes_its_pipe(x: int) -> int:
    """Goes silent: nothing can be heard of it any more, and it does not end."""
    if x == 1:
        os.close(control_pipe())
        os.kill(os.getpid(), signal.SIGSTOP)
    return x
