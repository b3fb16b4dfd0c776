"""How long an agent takes for a job of one task, from the reply that grants it to the request that brings its result.

One such job after another, all of one bundle, as a program makes them that calls ``submit`` in a loop; a real session
and sandbox, and the scheduler of ``benchmarks.agent`` in the same process.  ``wall_ms`` is made of the agent's own CPU
time (``cpu_us``) and of waiting for its runner.

    .venv/bin/python -m benchmarks.agent_single [JOBS]
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.agent import Endless, device_settings, first_of, signed_jobs

from corpgrid.compose.agent import run_agent
from corpgrid.domain.ids import Digest, Epoch, JobId
from corpgrid.domain.messages import Grant, GrantedTask, PollReply, PollRequest, Reply, SubmitRequest
from corpgrid.host.keyfiles import ensure_private_key
from corpgrid.wire import methods

WARM_JOBS = 50


class Signed(NamedTuple):
    """A job of one task, with what comes with it."""

    job: JobId
    envelope: bytes
    blobs: tuple[bytes, ...]


class OneByOne(Endless):
    """A scheduler's port that grants the next job when the last one's result is there."""

    def __init__(self, jobs: list[Signed], bundle: dict[Digest, bytes]) -> None:
        super().__init__(JobId(""), b"", bundle, 1)
        self.jobs = iter(jobs)
        self.wall: list[float] = []
        self.cpu: list[float] = []
        self._granted_at = (0.0, 0.0)
        self._back = asyncio.Event()
        self._back.set()

    async def poll(self, request: PollRequest) -> PollReply:
        """Take the result, and grant the next job."""
        await self._travels(methods.POLL_JOBS, request)
        self._comes_back(request)
        await self._back.wait()
        self._back.clear()
        job, envelope, blobs = next(self.jobs, None) or await asyncio.Future()
        self.epoch += 1
        grant = Grant(Epoch(self.epoch), job, (GrantedTask(0, 0),), 60.0)
        reply: PollReply = self._came(methods.POLL_JOBS, PollReply(grants=(grant,), specs={job: envelope}, blobs=blobs))
        self._granted_at = time.perf_counter(), time.process_time()
        return reply

    async def submit(self, request: SubmitRequest) -> Reply:
        """Take the result."""
        await self._travels(methods.SUBMIT_RESULT, request)
        self._comes_back(request)
        return Reply()

    def _comes_back(self, request: PollRequest | SubmitRequest) -> None:
        if request.batches:
            wall, cpu = self._granted_at
            self.wall.append(time.perf_counter() - wall)
            self.cpu.append(time.process_time() - cpu)
            self._take(request.batches)
            self._back.set()


async def measure(folder: Path, jobs: int) -> OneByOne:
    """The port, with how long each job took."""
    settings = device_settings(folder)
    made, bundle = await signed_jobs(ensure_private_key(folder / "submitter.pem"), [1] * (WARM_JOBS + jobs + 1))
    port = OneByOne([Signed(job, envelope, blobs) for job, envelope, blobs in made], bundle)
    stop = asyncio.Event()

    def wrap(_api: Any, _key: Any) -> Any:
        return port

    agent = asyncio.create_task(run_agent(settings, stop=stop, wrap=wrap))
    await first_of(port.reach(WARM_JOBS + jobs), agent)
    stop.set()
    await agent
    return port


def main() -> None:
    """Measure, and print percentiles."""
    jobs = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o711)
        port = asyncio.run(measure(folder, jobs))
    found = {
        f"{name}_p{place}": round(scale * statistics.quantiles(seconds[WARM_JOBS:], n=100)[place - 1], 2)
        for name, seconds, scale in (("wall_ms", port.wall, 1e3), ("cpu_us", port.cpu, 1e6))
        for place in (10, 50, 90)
    }
    print(json.dumps({"jobs": jobs, **found, "load_average": round(os.getloadavg()[0], 2)}))


if __name__ == "__main__":
    main()
