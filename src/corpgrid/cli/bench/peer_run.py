"""What every peer is asked to do, and how it is timed: the same as ``dispatch`` and ``latency`` do with our grid."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence

_WARM_TASKS = 2_000
_WARM_SINGLES = 20

Map = Callable[[int], Sequence[int]]
"""Runs so many no-op tasks, and gives all their values."""
Single = Callable[[int], int]


def arguments(description: str) -> argparse.ArgumentParser:
    """What every peer's program takes."""
    parser = argparse.ArgumentParser(description=description)
    for name in ("tasks", "singles", "runs", "workers"):
        parser.add_argument(f"--{name}", type=int, required=True)
    return parser


def report(asked: argparse.Namespace, map_all: Map, single: Single) -> None:
    """Warm up, measure, and print one line; ended when standard input ends, as it does with whoever asked."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("whoever asked is gone"))
    threading.Thread(target=_end_with_parent, name="corpgrid-parent", daemon=True).start()
    map_all(min(_WARM_TASKS, asked.tasks))
    rates = []
    for _ in range(asked.runs):
        started = time.perf_counter()
        values = map_all(asked.tasks)
        rates.append(asked.tasks / (time.perf_counter() - started))
        assert list(values) == list(range(asked.tasks)), "a result is wrong or out of order"
    seconds = []
    for number in range(_WARM_SINGLES + asked.singles):
        started = time.perf_counter()
        assert single(number) == number
        seconds.append(time.perf_counter() - started)
    print(json.dumps({"rates": rates, "singles": seconds[_WARM_SINGLES:]}), flush=True)  # noqa: T201 - the answer to our parent


def _end_with_parent() -> None:
    while os.read(0, 4096):
        pass
    # To the thread that measures, wherever it waits.
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
