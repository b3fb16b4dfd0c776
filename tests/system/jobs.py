"""Functions that the tests send to the grid; they travel by value, and run in a runner."""

from __future__ import annotations

import os
import time
from typing import Any


def square(x: int) -> int:
    return x * x


def slow_square(x: int) -> int:
    time.sleep(0.05)
    return x * x


def nap(seconds: float) -> float:
    """Sleep in one piece, so that a task is surely under way."""
    time.sleep(seconds)
    return seconds


def hold_memory(seconds: float) -> int:
    held = bytearray(os.urandom(1 << 20) * 64)
    time.sleep(seconds)
    return len(held)


def misbehave(what: Any) -> Any:
    """A task that does as it is told, however bad."""
    return BAD[what]() if isinstance(what, str) else what * what


def _exits() -> None:
    raise SystemExit(3)


def _raises() -> None:
    raise ValueError("the sky is falling")


def _spins() -> None:
    while True:
        pass


def _forks() -> None:
    while True:
        os.fork()


def _forks_then_waits() -> int:
    children = 0
    try:
        while True:
            if os.fork() == 0:
                time.sleep(600)
                os._exit(0)
            children += 1
    except OSError:
        time.sleep(600)
    return children


def _floods() -> str:
    line = "all work and no play makes Jack a dull boy\n" * 200
    for _ in range(4_000):
        print(line)  # noqa: T201 - that is the flood
    return "flooded"


def _writes_many_files() -> str:
    for number in range(1_000_000):
        with open(f"file-{number}", "w") as file:  # noqa: PTH123 - as a job would
            file.write("x")
    return "wrote"


def _fills_the_disk() -> str:
    with open("large", "wb") as file:  # noqa: PTH123 - as a job would
        file.writelines(b"x" * (1 << 20) for _ in range(4_096))
    return "wrote"


def _segfaults() -> None:
    import ctypes

    ctypes.string_at(0)


def _takes_all_memory() -> int:
    held = []
    while True:
        held.append(os.urandom(1 << 20) * 16)


def _kills_its_parent() -> str:
    import signal

    for pid in (os.getppid(), 1, -1):
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError:
            continue
    time.sleep(600)
    return "alive"


def _reads_secrets() -> str:
    with open("/etc/shadow") as file:  # noqa: PTH123 - as a job would
        return file.read()


def _returns_no_data() -> object:
    return object()


def _returns_too_much() -> bytes:
    return bytes(64 << 20)


def _returns_a_link() -> str:
    os.symlink("/etc/passwd", "link")  # noqa: PTH211 - as a job would
    return "linked"


BAD = {
    "exits": _exits,
    "raises": _raises,
    "spins": _spins,
    "forks": _forks,
    "forks_then_waits": _forks_then_waits,
    "floods": _floods,
    "many_files": _writes_many_files,
    "fills_disk": _fills_the_disk,
    "segfaults": _segfaults,
    "all_memory": _takes_all_memory,
    "kills_parent": _kills_its_parent,
    "secrets": _reads_secrets,
    "no_data": _returns_no_data,
    "too_much": _returns_too_much,
    "link": _returns_a_link,
}


def healthy_or_by_chance(what: Any) -> Any:
    """One task whose result is another each time."""
    return os.urandom(8) if what == "chance" else what * what


def leave_files(megabytes: int) -> int:
    with open("file", "wb") as file:  # noqa: PTH123 - as a job would
        file.write(os.urandom(megabytes << 20))
    return megabytes
