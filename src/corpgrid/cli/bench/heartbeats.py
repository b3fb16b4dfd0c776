"""How many heartbeats a second one scheduler process acknowledges, each of them durably, over real gRPC.

Many agents live in this one process: each has its key and its session, none has work.  They are spread over ``streams``
streams of calls, as agents of their own would be; what shares a stream shares its messages, too.  They send as fast as
they are answered, at most ``in_flight`` at a time, so that the latency is that of a busy scheduler and not that of a
queue of our own making.  This process needs as much of the machine as the scheduler does.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from itertools import cycle
from typing import Any, NamedTuple

from corpgrid.cli.bench.facts import latency_facts, machine_facts, store_facts
from corpgrid.cli.bench.grid import Bench, Setting, bench_grid
from corpgrid.domain.device import Facts, PowerStatus
from corpgrid.domain.messages import AgentStatus, HeartbeatRequest, RegisterRequest
from corpgrid.host.clock import SystemClock
from corpgrid.ports.api import SchedulerApi
from corpgrid.transport.address import parse_all
from corpgrid.transport.grpc_client import connect_scheduler
from corpgrid.transport.limits import TransportLimits
from corpgrid.trust.keys import PrivateKey
from corpgrid.trust.results import sign_registration

_FACTS = Facts(python="3.11", memory_bytes=1 << 34, disk_free_bytes=1 << 40)
_POWER = PowerStatus()


class Load(NamedTuple):
    """How a scheduler is asked.

    Attributes:
        seconds: for how long, for each number of agents.
        in_flight: the most that are sent at once.
        streams: over how many the agents are spread.
    """

    seconds: float
    in_flight: int
    streams: int


class _Beating(NamedTuple):
    api: SchedulerApi
    request: HeartbeatRequest


def measure_heartbeats(*, agents: Sequence[int], load: Load, setting: Setting) -> dict[str, Any]:
    """For each number of agents: acknowledged heartbeats a second, the latency of one, and what the scheduler spent."""
    machine = machine_facts()
    with bench_grid(setting) as bench:
        rows = asyncio.run(_measure(bench, agents, load))
    best = max(rows, key=lambda row: float(row["heartbeats_per_s"]))
    return {
        "heartbeats_per_s": best["heartbeats_per_s"],
        "p50_ms": best["p50_ms"],
        "p99_ms": best["p99_ms"],
        "measured": rows,
        "seconds": load.seconds,
        "streams": load.streams,
        **store_facts(setting.store),
        **machine,
    }


async def _measure(bench: Bench, agents: Sequence[int], load: Load) -> list[dict[str, Any]]:
    async with _connected(bench.address, load) as apis:
        beating, rows = list[_Beating](), []
        for number in sorted(agents):
            beating += await _registered(apis, range(len(beating), number), load.in_flight)
            rows.append(await _beat(bench, beating[:number], load))
        return rows


@asynccontextmanager
async def _connected(address: str, load: Load) -> AsyncIterator[Sequence[SchedulerApi]]:
    places, rng = parse_all(address), random.Random()  # noqa: S311 - jitter, no secret
    apis = [connect_scheduler(places, limits=TransportLimits(), rng=rng) for _ in range(load.streams)]
    try:
        yield apis
    finally:
        await asyncio.gather(*(api.close() for api in apis))


async def _registered(apis: Sequence[SchedulerApi], numbers: Sequence[int], in_flight: int) -> list[_Beating]:
    """New agents, known to the scheduler."""
    gate, clock = asyncio.Semaphore(in_flight), SystemClock()

    async def register(number: int) -> _Beating:
        key, api = PrivateKey.generate(), apis[number % len(apis)]
        request = RegisterRequest(
            public_key=key.public.raw,
            owner=f"owner-{number}",
            site="bench",
            name=f"agent-{number}",
            facts=_FACTS,
            power=_POWER,
            boot="b",
            signed_at=clock.now(),
            capacity=1,
        )
        async with gate:
            reply = await api.register(sign_registration(request, key))
        status = AgentStatus(device=reply.device, session=reply.session, power=_POWER)
        return _Beating(api, HeartbeatRequest(status=status))

    return list(await asyncio.gather(*map(register, numbers)))


async def _beat(bench: Bench, agents: Sequence[_Beating], load: Load) -> dict[str, Any]:
    """All agents in turn, for so long."""
    turns: Iterator[_Beating] = cycle(agents)
    taken: list[float] = []
    cpu, started = bench.scheduler_cpu_seconds(), time.perf_counter()

    async def send() -> None:
        while time.perf_counter() - started < load.seconds:
            api, request = next(turns)
            sent = time.perf_counter()
            await api.heartbeat(request)
            taken.append(time.perf_counter() - sent)

    abreast = min(load.in_flight, len(agents))
    await asyncio.gather(*(send() for _ in range(abreast)))
    rate = len(taken) / (time.perf_counter() - started)
    return {
        "agents": len(agents),
        "in_flight": abreast,
        "heartbeats_per_s": round(rate),
        "scheduler_cpu_us": round(1e6 * (bench.scheduler_cpu_seconds() - cpu) / len(taken), 1),
        **latency_facts(taken),
    }
