"""Sandboxes whose agent is gone.

A sandbox ends with its agent.  Only an agent that is killed in the very instant in which one starts (bubblewrap's outer
process is tied to the agent already, the inner one waits for its word: some 50 microseconds) may leave the inner
process behind, waiting for ever, before it ran anything.  Each sandbox carries its agent's identity in its program's
name, so that the next agent finds and ends those.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

MARK = "corpgrid-sandbox"
_STARTED = 19
"""The place of a process's start, in ticks since boot, in what follows its name in ``/proc/PID/stat``."""


def own_identity() -> str:
    """This process's pid and start: a name that no other process of this boot has."""
    return f"{os.getpid()}.{_start(os.getpid())}"


def own_mark() -> str:
    """The name under which this agent's sandboxes run."""
    return f"{MARK}.{own_identity()}"


def is_alive(pid: str, start: str) -> bool:
    """Whether the process with this pid and start still runs; what is no pid is no process."""
    return pid.isdigit() and _start(int(pid)) == start


def end_orphans() -> int:
    """End the sandboxes of agents that are gone, as far as they are this user's; how many processes."""
    ended = 0
    for pid in _orphans():
        with suppress(ProcessLookupError, PermissionError):
            handle = os.pidfd_open(pid)
            try:
                if _is_orphan(pid):  # still the one that was seen, now that the handle cannot change hands
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
                    ended += 1
            finally:
                os.close(handle)
    return ended


def _orphans() -> Iterator[int]:
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and _is_orphan(int(folder.name)):
            yield int(folder.name)


def _is_orphan(pid: int) -> bool:
    try:
        name = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0", maxsplit=1)[0].decode("ascii", "replace")
    except OSError:
        return False
    mark, _, identity = name.partition(".")
    agent, _, start = identity.partition(".")
    return mark == MARK and not is_alive(agent, start)


def _start(pid: int) -> str:
    try:
        line = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return ""
    return line[line.rfind(")") + 2 :].split()[_STARTED]
