"""What an agent spends on a no-op task: CPU time of its process and of its runner, with a real session and sandbox.

The scheduler is a port in the same process that grants as much as it is asked for and takes every result at once.  Its
wire is measured apart: the bytes of the same requests and replies are made and read again, as gRPC would have it.

    .venv/bin/python benchmarks/agent.py [TASKS [RUNS]]
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from corpgrid.compose.agent import run_agent
from corpgrid.config import ClientConfig, Config, load_config
from corpgrid.domain.ids import Digest, Epoch, JobId, device_id
from corpgrid.domain.messages import (
    AgentSettings,
    Grant,
    GrantedTask,
    HeartbeatRequest,
    PollReply,
    PollRequest,
    RegisterReply,
    RegisterRequest,
    Reply,
    SubmitRequest,
)
from corpgrid.host.clock import SystemClock
from corpgrid.host.keyfiles import ensure_private_key, write_public_key
from corpgrid.sdk.items import encode_items
from corpgrid.sdk.packaging import pack_function
from corpgrid.sdk.packing import pack
from corpgrid.sdk.request import Options, make_request
from corpgrid.sdk.sending import Sender
from corpgrid.trust.digest import digest
from corpgrid.trust.jobspec import verify_job
from corpgrid.trust.keys import Keyring, PrivateKey
from corpgrid.wire import methods

WARM_TASKS = 5_000
GRANT_TASKS = 512
JOB_TASKS = 4_096


class Endless:
    """A scheduler's port with as many tasks as are asked for; it counts results and the CPU time of the wire."""

    def __init__(self, job: JobId, envelope: bytes, blobs: dict[Digest, bytes], tasks: int) -> None:
        self.job, self.envelope, self.blobs, self.tasks = job, envelope, blobs, tasks
        self.granted, self.epoch, self.returned = 0, 0, 0
        self.requests = 0
        self.spent: Counter[str] = Counter()
        self.reached: dict[int, asyncio.Future[None]] = {}

    def reach(self, results: int) -> asyncio.Future[None]:
        """Done when so many results came."""
        return self.reached.setdefault(results, asyncio.get_running_loop().create_future())

    async def register(self, request: RegisterRequest) -> RegisterReply:
        """Welcome."""
        device = device_id(digest(request.public_key))
        return RegisterReply(device=device, session="s", settings=AgentSettings(poll_wait_seconds=1.0))

    async def poll(self, request: PollRequest) -> PollReply:
        """Take the results, and grant what is wanted."""
        await self._travels(methods.POLL_JOBS, request)
        self._take(request.batches)
        count = min(request.wanted, GRANT_TASKS)
        self.epoch += 1
        first, self.granted = self.granted, self.granted + count
        places = range(first, self.granted)
        tasks = tuple(GrantedTask(place % self.tasks, place // self.tasks) for place in places)
        reply = PollReply(
            grants=(Grant(Epoch(self.epoch), self.job, tasks, 60.0),) if tasks else (),
            specs={} if self.job in request.known_jobs else {self.job: self.envelope},
        )
        return self._came(methods.POLL_JOBS, reply)

    async def submit(self, request: SubmitRequest) -> Reply:
        """Take the results."""
        await self._travels(methods.SUBMIT_RESULT, request)
        self._take(request.batches)
        return Reply()

    async def heartbeat(self, _request: HeartbeatRequest) -> Reply:
        """Go on."""
        return Reply()

    async def get_blob(self, name: Digest) -> bytes:
        """A blob of the job."""
        return self.blobs[name]

    async def put_blob(self, _content: bytes) -> Digest:
        """Never asked for."""
        raise AssertionError("a no-op leaves nothing large")

    put_blob_file = fetch_blob = put_blob

    async def close(self) -> None:
        """Nothing to let go of."""

    async def _travels(self, method: Any, request: Any) -> None:
        self.requests += 1
        started = time.process_time()
        method.request.encode(request)
        self.spent["encode"] += time.process_time() - started
        await asyncio.sleep(0)

    def _came(self, method: Any, reply: Any) -> Any:
        content = method.reply.encode(reply)
        started = time.process_time()
        decoded = method.reply.decode(content)
        self.spent["decode"] += time.process_time() - started
        return decoded

    def _take(self, batches: Any) -> None:
        self.returned += sum(len(batch.items) for batch in batches)
        for results, future in self.reached.items():
            if self.returned >= results and not future.done():
                future.set_result(None)


class Catcher:
    """A grid's port that keeps what is submitted; all blobs are small enough to come with it."""

    put_blob = None

    def __init__(self) -> None:
        self.envelope = b""
        self.blobs: Sequence[bytes] = ()

    async def submit_job(self, envelope: bytes, *, blobs: Sequence[bytes]) -> None:
        """Keep it."""
        self.envelope, self.blobs = envelope, blobs


async def signed_jobs(
    key: PrivateKey, sizes: Sequence[int]
) -> tuple[list[tuple[JobId, bytes, tuple[bytes, ...]]], dict[Digest, bytes]]:
    """No-op jobs of one bundle as the SDK makes them, each with its own small blobs; and that bundle."""

    def noop(item: int) -> int:
        return item

    options = Options()
    request = make_request(options, ClientConfig(), name="noop")
    package = pack_function(pack(noop, what="noop"), wheels=[], requirements=request.requirements, key=key)
    catcher: Any = Catcher()
    sender, keyring, clock = Sender(catcher, SystemClock()), Keyring([key.public]), SystemClock()
    jobs = []
    for tasks in sizes:
        await sender.send(package, encode_items(range(tasks)), request, key)
        job = verify_job(catcher.envelope, keyring=keyring, now=clock.now()).id
        jobs.append((job, catcher.envelope, tuple(blob for blob in catcher.blobs if blob != package.content)))
    return jobs, {package.digest: package.content}


def device_settings(folder: Path) -> Config:
    """An agent that lives in this folder, and believes the key in it that it makes for a submitter."""
    key = ensure_private_key(folder / "submitter.pem")
    trusted = folder / "trusted"
    trusted.mkdir(mode=0o700)
    write_public_key(trusted / "submitter.pem", key.public)
    overrides: dict[str, object] = {
        "agent.folder": str(folder / "agent"), "agent.trusted_keys": str(trusted), "agent.owner": "bench",
        "agent.address": f"unix:{folder}/none/grid.sock", "agent.idle_seconds": 0, "agent.mains_settle_seconds": 0,
        "agent.capacity": 1, "agent.thermal_headroom_min": 0,
    }  # fmt: skip
    return load_config(environ={}, overrides=overrides)


async def measure(folder: Path, tasks: int, runs: int) -> list[dict[str, Any]]:
    """Microseconds of the agent's CPU a task, of several runs."""
    settings = device_settings(folder)
    ((job, envelope, blobs),), bundle = await signed_jobs(ensure_private_key(folder / "submitter.pem"), [JOB_TASKS])
    port = Endless(job, envelope, bundle | {digest(blob): blob for blob in blobs}, JOB_TASKS)
    stop, rows = asyncio.Event(), []

    def wrap(_api: Any, _key: PrivateKey) -> Any:
        return port

    agent = asyncio.create_task(run_agent(settings, stop=stop, wrap=wrap))
    await first_of(port.reach(WARM_TASKS), agent)
    for _ in range(runs):
        port.spent.clear()
        came, asked, before = port.returned, port.requests, clocks()
        await first_of(port.reach(came + tasks), agent)
        done, after = port.returned - came, clocks()
        spent = {name: after[name] - before[name] for name in after} | dict(port.spent)
        rows.append(
            {
                **{f"{name}_us": round(1e6 * seconds / done, 2) for name, seconds in spent.items()},
                "tasks_a_request": round(done / (port.requests - asked)),
            }
        )
    stop.set()
    await agent
    return rows


def clocks() -> dict[str, float]:
    """Seconds so far: this process's CPU, its user and system parts, its runner's CPU, and the clock's."""
    usage, here = resource.getrusage(resource.RUSAGE_SELF), psutil.Process()
    runner = sum(sum(child.cpu_times()[:2]) for child in here.children(recursive=True))
    return {
        "cpu": time.process_time(),
        "user": usage.ru_utime,
        "system": usage.ru_stime,
        "runner_cpu": runner,
        "wall": time.perf_counter(),
    }


async def first_of(future: asyncio.Future[None], agent: asyncio.Task[None]) -> None:
    """Wait for the one; the other's end is its error."""
    await asyncio.wait({future, agent}, return_when=asyncio.FIRST_COMPLETED)
    if agent.done():
        agent.result()


def main() -> None:
    """Measure, and print the best run and all."""
    tasks = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    runs = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o711)
        rows = asyncio.run(measure(folder, tasks, runs))
    best = min(rows, key=lambda row: float(row["cpu_us"]))
    print(json.dumps({"best": best, "all": rows, "load_average": round(os.getloadavg()[0], 2)}))


if __name__ == "__main__":
    main()
