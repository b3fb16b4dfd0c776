"""What storing by digest costs: put and get of a blob against a plain write with fsync and a plain read, in turn.

Both sides write new files of new bytes in the same folder, in alternating order; one that is put is named by its digest
and verified when it is read.  No file is deleted before the end: a new one would get the blocks of that one, which the
disk may have at hand already.  What is read was written a moment before, so both sides read from the system's cache.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Awaitable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

from corpgrid.blobs.local import LocalBlobs
from corpgrid.cli.bench.facts import machine_facts
from corpgrid.domain.ids import Digest

T = TypeVar("T")
_MEGABYTE = 1e6


def measure_blobs(*, sizes: Sequence[int], rounds: int) -> dict[str, Any]:
    """Megabytes (10^6) a second for each size; the median of all rounds."""
    machine = machine_facts()
    with tempfile.TemporaryDirectory(prefix="corpgrid-bench-") as folder:
        rows = asyncio.run(_measure(Path(folder), sizes, rounds))
    return {
        "put_mb_per_s": rows[-1]["put_mb_per_s"],
        "get_mb_per_s": rows[-1]["get_mb_per_s"],
        "measured": rows,
        "rounds": rounds,
        "store": "local",
        "durable": True,
        **machine,
    }


async def _measure(folder: Path, sizes: Sequence[int], rounds: int) -> list[dict[str, Any]]:
    blobs = await LocalBlobs.at(folder / "blobs")
    plain = folder / "plain"
    plain.mkdir()
    return [await _of_size(blobs, plain, size, rounds) for size in sizes]


async def _of_size(blobs: LocalBlobs, plain: Path, size: int, rounds: int) -> dict[str, Any]:
    taken: dict[str, list[float]] = {"put": [], "get": [], "write": [], "read": []}
    for number in range(rounds):
        content, path = os.urandom(size), plain / f"{size}-{number}"
        digest: Digest | None = None
        for side in ("write", "put") if number % 2 else ("put", "write"):
            if side == "write":
                seconds, _ = await _timed(asyncio.to_thread(_write, path, content))
            else:
                seconds, digest = await _timed(blobs.put(content))
            taken[side].append(seconds)
        assert digest is not None
        seconds, read = await _timed(asyncio.to_thread(path.read_bytes))
        taken["read"].append(seconds)
        seconds, got = await _timed(blobs.get(digest))
        taken["get"].append(seconds)
        assert read == got == content
    rates = {name: size / median(seconds) / _MEGABYTE for name, seconds in taken.items()}
    return {
        "size_bytes": size,
        **{f"{name}_mb_per_s": round(rate, 1) for name, rate in rates.items()},
        "put_to_write": round(rates["put"] / rates["write"], 2),
        "get_to_read": round(rates["get"] / rates["read"], 2),
    }


async def _timed(work: Awaitable[T]) -> tuple[float, T]:
    started = time.perf_counter()
    value = await work
    return time.perf_counter() - started, value


def _write(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
