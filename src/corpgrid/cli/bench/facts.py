"""What stands beside every figure: the machine, how busy it was, and the program that was measured.

Figures without these say nothing: the same command on the same machine is a third slower beside a busy neighbour.
"""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path
from statistics import quantiles
from typing import Any

import psutil

from corpgrid import __file__ as package_file
from corpgrid import __version__

_CPU_INFO = Path("/proc/cpuinfo")
_SHORT_CHARACTERS = 12


def machine_facts() -> dict[str, Any]:
    """The machine, its load now, and what runs on it."""
    return {
        "load_average": load_average(),
        "cpus": os.cpu_count(),
        "model": _model(),
        "memory_bytes": int(psutil.virtual_memory().total),
        "python": platform.python_version(),
        "version": __version__,
        "commit": _commit(),
    }


def store_facts(store: str) -> dict[str, Any]:
    """What a grid under measurement promises while it is measured."""
    return {"store": store, "durable": True, "signed": True, "mtls": False}


def load_average() -> float:
    """Of the last minute, over all cores; what is measured is part of it."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else -1.0


def latency_facts(seconds: Sequence[float]) -> dict[str, float]:
    """The middle and the tail, in milliseconds."""
    if len(seconds) < 2:
        seconds = [*seconds, *seconds]
    cuts = quantiles(seconds, n=100, method="inclusive")
    return {name: milliseconds(cuts[place - 1]) for name, place in (("p50_ms", 50), ("p90_ms", 90), ("p99_ms", 99))}


def milliseconds(seconds: float) -> float:
    """Seconds as milliseconds, to a tenth of a microsecond."""
    return round(1e3 * seconds, 4)


def _model() -> str:
    try:
        lines = _CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _commit() -> str:
    """The checkout's commit, marked where its program was changed since; empty where this is no checkout."""
    folder = Path(package_file).parent

    def git(*arguments: str) -> str:
        argv = ["git", "-C", str(folder), *arguments]
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()

    try:
        if git("ls-files", "--", "__init__.py") == "":
            return ""
        return git("rev-parse", "HEAD")[:_SHORT_CHARACTERS] + ("+changes" if git("status", "--short", ".") else "")
    except (OSError, subprocess.CalledProcessError):
        return ""
