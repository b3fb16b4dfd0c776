"""Many agents of one process: each with its key, its session and the protocol of production, none with a runner.

    python -m corpgrid.cli.bench.crowd --address 127.0.0.1:7117 --agents 1000 --streams 1000

Each returns the index of a task as its value, at once, signed; so what is measured is a scheduler and a wire, and how
many hold on to them.  It prints ``ready`` when all are known to the scheduler, and ends when standard input does.
"""

from __future__ import annotations

import argparse
import asyncio
import random
from collections.abc import Iterable, Sequence

from corpgrid.agent.instructions import Beat, Instruction, Poll, Register, Submit
from corpgrid.agent.requests import Identity, Requests
from corpgrid.agent.session import Host, Link, Session
from corpgrid.compose.process import spare_the_collector, stop_with_parent
from corpgrid.domain.device import Facts
from corpgrid.domain.messages import Item, Outcome
from corpgrid.host.clock import SystemClock
from corpgrid.ports.api import SchedulerApi
from corpgrid.transport.address import parse_all
from corpgrid.transport.grpc_client import connect_scheduler
from corpgrid.transport.limits import TransportLimits
from corpgrid.trust.keys import PrivateKey
from corpgrid.wire.data import encode

_FACTS = Facts(python="3.11", memory_bytes=1 << 34, disk_free_bytes=1 << 40, cpus=1)
_DISK_FREE_BYTES = 1 << 40
_TASK_SECONDS = 1e-5
_JOINING_AT_ONCE = 64


class LogicalAgent:
    """A session, what it asks for, and nothing that runs.

    Args:
        number: names it and its owner, so that each may check any other.
        api: its way to the scheduler.
        joining: how many may register at once.
    """

    def __init__(self, number: int, api: SchedulerApi, joining: asyncio.Semaphore) -> None:
        name, self._clock, self._joining = f"agent-{number}", SystemClock(), joining
        self._session = Session(slots=1, yield_grace_seconds=0.0, rng=random.Random())  # noqa: S311 - jitter, no secret
        self._session.host = Host(disk_free_bytes=_DISK_FREE_BYTES)
        key = PrivateKey.generate()
        identity = Identity(key=key, owner=f"owner-{number}", site="bench", name=name, boot="b", facts=lambda: _FACTS)
        self._requests = Requests(api, self._session, identity, self._clock)
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self.known = asyncio.Event()

    def start(self) -> None:
        """Begin; ``known`` is set once the scheduler has answered."""
        self._carry_out(self._session.advance(now=self._clock.monotonic()))

    def _carry_out(self, instructions: Iterable[Instruction]) -> None:
        for instruction in instructions:
            if isinstance(instruction, (Register, Poll, Submit, Beat)):
                task = asyncio.create_task(self._ask(instruction))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        now = self._clock.monotonic()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(self._session.next_due(now=now), self._due)

    def _due(self) -> None:
        self._carry_out(self._session.advance(now=self._clock.monotonic()))

    async def _ask(self, request: Register | Poll | Submit | Beat) -> None:
        if isinstance(request, Register):
            async with self._joining:
                instructions = await self._requests.carry_out(request, ())
        else:
            jobs = tuple(self._session.queue.active_jobs())
            instructions = await self._requests.carry_out(request, jobs)
        if self._session.link is Link.UP:
            self.known.set()
        self._carry_out([*instructions, *self._run()])

    def _run(self) -> list[Instruction]:
        """Bring all that is here to its end."""
        queue, out = self._session.queue, list[Instruction]()
        for job in queue.jobs():
            tasks = queue.take(job, queue.unfinished)
            items = [
                Item(task.index, task.attempt, task.epoch, Outcome.RESULT, encode(task.index), seconds=_TASK_SECONDS)
                for task in tasks
            ]
            out += self._session.finished(job, items, now=self._clock.monotonic())
        return out


async def _serve(address: str, agents: int, streams: int) -> None:
    stop = asyncio.Event()
    stop_with_parent(stop)
    places, rng = parse_all(address), random.Random()  # noqa: S311 - jitter, no secret
    apis = [connect_scheduler(places, limits=TransportLimits(), rng=rng) for _ in range(min(streams, agents))]
    joining = asyncio.Semaphore(_JOINING_AT_ONCE)
    crowd = [LogicalAgent(number, apis[number % len(apis)], joining) for number in range(agents)]
    for agent in crowd:
        agent.start()
    for agent in crowd:
        await agent.known.wait()
    spare_the_collector()
    print("ready", flush=True)  # noqa: T201 - to whoever started this
    await stop.wait()


def main(arguments: Sequence[str] | None = None) -> None:
    """Be so many agents until standard input ends."""
    parser = argparse.ArgumentParser(description="Many agents without runners.")
    parser.add_argument("--address", required=True)
    parser.add_argument("--agents", type=int, required=True)
    parser.add_argument("--streams", type=int, required=True)
    asked = parser.parse_args(arguments)
    asyncio.run(_serve(asked.address, asked.agents, asked.streams))


if __name__ == "__main__":
    main()
