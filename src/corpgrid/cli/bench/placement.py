"""How long placement takes: so many tasks in so many kinds, over so many devices; nothing but the rules, in memory.

The devices differ in owner, site, memory, load and past; each kind of task asks for another amount of memory.  The
columns over the devices are made once, as a scheduler keeps them, and timed apart.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from statistics import median
from typing import Any

from corpgrid.cli.bench.facts import machine_facts, milliseconds
from corpgrid.domain.device import Device, Facts
from corpgrid.domain.ids import DeviceId, JobId, OwnerId, SiteId
from corpgrid.domain.job import Requirements, VerifyMode
from corpgrid.domain.placement import DeviceColumns, Want, match

_NOW = 1_000_000.0
_GIB = 1 << 30
_SEED = 1


def measure_placement(*, devices: Sequence[int], sets: Sequence[int], tasks: int, rounds: int) -> dict[str, Any]:
    """Milliseconds a match for each number of devices and of kinds; the median of all rounds."""
    machine = machine_facts()
    _over(1, [1], 1, 1)  # what is imported once is not to be timed
    rows = [row for number in devices for row in _over(number, sets, tasks, rounds)]
    return {
        "match_ms": rows[-1]["match_ms"],
        "measured": rows,
        "tasks": tasks,
        "rounds": rounds,
        **machine,
    }


def _over(devices: int, sets: Sequence[int], tasks: int, rounds: int) -> list[dict[str, Any]]:
    """All numbers of kinds, over the same devices."""
    columns = DeviceColumns.of(_devices(devices))
    started = time.perf_counter()
    _ = columns.arrays
    columns_ms = milliseconds(time.perf_counter() - started)
    rows = []
    for kinds in sets:
        wants, seconds, placed = _wants(kinds, tasks), [], 0
        for number in range(rounds):
            started = time.perf_counter()
            plan = match(wants, columns, now=_NOW, rng=random.Random(number))  # noqa: S311 - breaks ties, keeps no secret
            seconds.append(time.perf_counter() - started)
            placed = sum(placement.count for placement in plan)
        rows.append(
            {
                "devices": devices,
                "sets": kinds,
                "match_ms": milliseconds(median(seconds)),
                "first_ms": milliseconds(seconds[0]),
                "columns_ms": columns_ms,
                "placed": placed,
            }
        )
    return rows


def _wants(kinds: int, tasks: int) -> list[Want]:
    return [
        Want(
            job=JobId(f"job_{number}"),
            requirements=Requirements(memory_bytes=(number + 1) * _GIB // 4),
            verify_mode=VerifyMode.AUDIT,
            count=max(1, tasks // kinds),
        )
        for number in range(kinds)
    ]


def _devices(number: int) -> list[Device]:
    chance = random.Random(_SEED)  # noqa: S311 - the same fleet each time
    return [
        Device(
            id=DeviceId(f"dev_{place:06}"),
            public_key=b"k" * 32,
            owner=OwnerId(f"owner-{chance.randrange(1 + number // 3)}"),
            site=SiteId(f"site-{chance.randrange(20)}"),
            facts=Facts(cpus=8, memory_bytes=chance.choice((8, 16, 32, 64)) * _GIB, thermal_headroom=chance.random()),
            capacity=8,
            leased=chance.randrange(8),
            last_seen=_NOW,
        )
        for place in range(number)
    ]
