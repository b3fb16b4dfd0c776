"""The agent's inside over a sandbox without walls: real jobs, pool, slot and session; only the scheduler is a table."""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import cloudpickle

from corpgrid.agent.bell import Bell
from corpgrid.agent.environment import Environments
from corpgrid.agent.jobs import Jobs
from corpgrid.agent.runners import Interpreter, RunnerPool
from corpgrid.agent.session import Session
from corpgrid.agent.slot import Slot, Storage
from corpgrid.agent.wheel_tags import this_interpreter
from corpgrid.domain.ids import DeviceId, Digest, Epoch, JobId
from corpgrid.domain.job import JobSpec, Limits
from corpgrid.domain.messages import Grant, GrantedTask, Item, PollReply, RegisterReply
from corpgrid.errors import NotFoundError
from corpgrid.host.clock import SystemClock
from corpgrid.trust.bundle import BundleFile, FunctionEntry, build_bundle
from corpgrid.trust.digest import digest
from corpgrid.trust.jobspec import make_pages, sign_job, verify_job
from corpgrid.trust.keys import Keyring, PrivateKey
from corpgrid.wire import data
from tests.unit.runner.plain_sandbox import PlainSandbox

PATIENCE_SECONDS = 20.0


class BlobTable:
    """The blobs of a scheduler."""

    def __init__(self) -> None:
        self.blobs: dict[Digest, bytes] = {}
        self.fails: list[Exception] = []

    def add(self, content: bytes) -> Digest:
        self.blobs[digest(content)] = content
        return digest(content)

    async def get_blob(self, name: Digest) -> bytes:
        if name not in self.blobs:
            raise NotFoundError(f"there is no blob {name.hex()[:8]}")
        return self.blobs[name]

    async def fetch_blob(self, name: Digest, target: Path) -> None:
        target.write_bytes(await self.get_blob(name))  # noqa: ASYNC240 - a table

    async def put_blob(self, content: bytes) -> Digest:
        if self.fails:
            raise self.fails.pop(0)
        return self.add(content)

    async def put_blob_file(self, path: Path) -> Digest:
        return await self.put_blob(path.read_bytes())  # noqa: ASYNC240 - a table


class Device:
    """One slot, its pool and its session."""

    def __init__(self, folder: Path, runtime: Path, *, spares: int = 0, sandbox: Any = None) -> None:
        self.blobs = BlobTable()
        self.key = PrivateKey.generate()
        self.keyring = Keyring([self.key.public])
        self.finished: dict[JobId, list[Item]] = {}
        self.session = Session(slots=1, yield_grace_seconds=60.0, rng=random.Random(1))
        for name in ("jobs", "runners", "staging"):
            (folder / name).mkdir()
        self.folder = folder
        api: Any = self.blobs
        self.jobs = Jobs(
            api=api,
            keyring=self.keyring,
            environments=Environments(folder / "environments", interpreter=this_interpreter(), cache_bytes=1 << 20),
            clock=SystemClock(),
            folder=folder / "jobs",
            allow_network=False,
        )
        self.pool = RunnerPool(
            sandbox or PlainSandbox(),
            self.jobs,
            Interpreter(path=sys.executable, read_only={}, runtime=runtime),
            folder=folder / "runners",
            spares=spares,
            memory_bytes=0,
        )
        storage = Storage(put=self.blobs.put_blob, put_file=self.blobs.put_blob_file, staging=folder / "staging")
        self.slot = Slot(0, self.session, self.pool, storage, idle_seconds=60.0)
        self._came = Bell()
        self._changed = asyncio.Event()
        self._epoch = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Device]:
        self.session.advance(now=0.0)
        self.session.registered(RegisterReply(device=DeviceId("dev_a"), session="s"), now=0.0)
        self.task = asyncio.create_task(self.slot.run(self._came, self._on_finished))
        try:
            yield self
            assert not self.task.done(), self.task.exception()
        finally:
            self.pool.kill(None)
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)
            await self.pool.close()
            assert list((self.folder / "runners").iterdir()) == []
            assert list((self.folder / "staging").iterdir()) == []

    def job(self, function: Callable[[Any], Any], items: Sequence[Any], *, drop_pages: bool = False) -> JobId:
        """A signed job whose blobs are there."""
        files = {"function.pkl": BundleFile(cloudpickle.dumps(function))}
        bundle = build_bundle(files, engine="python", entry=FunctionEntry("function.pkl"), key=self.key)
        pages, page_list, arguments = make_pages([b"d" + data.encode(item) for item in items], 100)
        for blob in (bundle, page_list, *(() if drop_pages else pages)):
            self.blobs.add(blob)
        spec = JobSpec(
            name="job",
            bundle=digest(bundle),
            arguments=arguments,
            not_after=SystemClock().now() + 3600,
            nonce=str(len(self.blobs.blobs)),
            limits=Limits(wall_seconds=PATIENCE_SECONDS),
        )
        envelope = sign_job(spec, self.key)
        job = verify_job(envelope, keyring=self.keyring, now=SystemClock().now()).id
        self.pool.learn({job: envelope}, ())
        return job

    async def grant(self, job: JobId, *indexes: int) -> Epoch:
        """Give the slot tasks."""
        self._epoch += 1
        tasks = tuple(GrantedTask(index, 0) for index in indexes)
        self.session.polled(PollReply(grants=(Grant(Epoch(self._epoch), job, tasks, 60.0),)), now=0.0)
        self._came.ring()
        return Epoch(self._epoch)

    async def ended(self, job: JobId, count: int) -> list[Item]:
        """The items of a job, once there are so many."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(self.finished.get(job, [])) < count:
                self._changed.clear()
                await self._changed.wait()
        return sorted(self.finished[job], key=lambda item: item.index)

    async def until(self, met: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not met():  # noqa: ASYNC110 - of processes nobody is told
                await asyncio.sleep(0.005)

    def _on_finished(self, job: JobId, items: Sequence[Item]) -> None:
        self.finished.setdefault(job, []).extend(items)
        self.session.finished(job, items, now=0.0)
        self._changed.set()
