"""How many heartbeats a second one scheduler process acknowledges, each of them durably, over real gRPC.

Many agents live in this one process: each has its key and its session, all of them share one connection, none has work.
They send as fast as they are answered, at most ``in_flight`` at a time, so that the latency is that of a busy scheduler
and not that of a queue of our own making.  This process needs as much of the machine as the scheduler does.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from itertools import cycle
from typing import Any

from corpgrid.cli.bench.facts import latency_facts, machine_facts, store_facts
from corpgrid.cli.bench.grid import Setting, bench_grid
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


def measure_heartbeats(
    *, agents: Sequence[int], seconds: float, in_flight: int, setting: Setting, transport: TransportLimits | None = None
) -> dict[str, Any]:
    """For each number of agents: acknowledged heartbeats a second, and the latency of one in milliseconds."""
    machine = machine_facts()
    with bench_grid(setting) as bench:
        rows = asyncio.run(_measure(bench.address, transport or TransportLimits(), agents, seconds, in_flight))
    best = max(rows, key=lambda row: float(row["heartbeats_per_s"]))
    return {
        "heartbeats_per_s": best["heartbeats_per_s"],
        "p50_ms": best["p50_ms"],
        "p99_ms": best["p99_ms"],
        "measured": rows,
        "seconds": seconds,
        **store_facts(setting.store),
        **machine,
    }


async def _measure(
    address: str, limits: TransportLimits, agents: Sequence[int], seconds: float, in_flight: int
) -> list[dict[str, Any]]:
    async with _connected(address, limits) as api:
        statuses, rows = list[AgentStatus](), []
        for number in sorted(agents):
            statuses += await _registered(api, range(len(statuses), number), in_flight)
            rows.append(await _beat(api, statuses[:number], seconds, in_flight))
        return rows


@asynccontextmanager
async def _connected(address: str, limits: TransportLimits) -> AsyncIterator[SchedulerApi]:
    api = connect_scheduler(parse_all(address), limits=limits, rng=random.Random())  # noqa: S311 - jitter, no secret
    try:
        yield api
    finally:
        await api.close()


async def _registered(api: SchedulerApi, numbers: Sequence[int], in_flight: int) -> list[AgentStatus]:
    """New agents, known to the scheduler."""
    gate, clock = asyncio.Semaphore(in_flight), SystemClock()

    async def register(number: int) -> AgentStatus:
        key = PrivateKey.generate()
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
        return AgentStatus(device=reply.device, session=reply.session, power=_POWER)

    return list(await asyncio.gather(*map(register, numbers)))


async def _beat(api: SchedulerApi, statuses: Sequence[AgentStatus], seconds: float, in_flight: int) -> dict[str, Any]:
    """All agents in turn, for so long."""
    turns: Iterator[AgentStatus] = cycle(statuses)
    taken: list[float] = []
    started = time.perf_counter()

    async def send() -> None:
        while time.perf_counter() - started < seconds:
            sent = time.perf_counter()
            await api.heartbeat(HeartbeatRequest(status=next(turns)))
            taken.append(time.perf_counter() - sent)

    abreast = min(in_flight, len(statuses))
    await asyncio.gather(*(send() for _ in range(abreast)))
    rate = len(taken) / (time.perf_counter() - started)
    return {
        "agents": len(statuses),
        "in_flight": abreast,
        "heartbeats_per_s": round(rate),
        **latency_facts(taken),
    }
