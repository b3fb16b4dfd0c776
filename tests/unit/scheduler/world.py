"""A whole scheduler over a store in memory, with people and devices who hold real keys."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

from corpgrid.domain.device import Facts, PowerStatus
from corpgrid.domain.ids import Digest, Epoch, JobId
from corpgrid.domain.job import JobSpec, VerifyMode, VerifyPolicy
from corpgrid.domain.messages import (
    AgentSettings,
    AgentStatus,
    Batch,
    Grant,
    HeartbeatRequest,
    Item,
    Outcome,
    PollReply,
    PollRequest,
    RegisterReply,
    RegisterRequest,
    Reply,
    SubmitRequest,
)
from corpgrid.domain.rules import GridRules
from corpgrid.errors import DigestError, NotFoundError
from corpgrid.ports.api import SchedulerApi
from corpgrid.ports.store import Store
from corpgrid.scheduler.limits import SchedulerLimits
from corpgrid.scheduler.scheduler import Scheduler
from corpgrid.stores.memory import MemoryStore
from corpgrid.stores.settings import StoreSettings
from corpgrid.trust.bundle import BundleFile, ModuleEntry, Wheel, build_bundle
from corpgrid.trust.digest import digest
from corpgrid.trust.jobspec import make_pages, sign_job
from corpgrid.trust.keys import Keyring, PrivateKey
from corpgrid.trust.results import sign_batch, sign_registration
from corpgrid.wire.convert import batch_blobs, encode_batch, item_payload

START = 1_800_000_000.0


class ManualClock:
    def __init__(self) -> None:
        self.time = START

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time


class DictBlobs:
    """``Blobs`` in a dictionary."""

    def __init__(self) -> None:
        self.contents: dict[Digest, bytes] = {}
        self.collected: list[frozenset[Digest]] = []

    async def put(self, content: bytes) -> Digest:
        self.contents[digest(content)] = bytes(content)
        return digest(content)

    async def put_file(self, path: Path) -> Digest:
        return await self.put(await asyncio.to_thread(path.read_bytes))

    async def put_stream(self, chunks: AsyncIterator[bytes], *, expected: Digest | None = None) -> Digest:
        content = b"".join([chunk async for chunk in chunks])
        if expected is not None and digest(content) != expected:
            raise DigestError("not the bytes that were named")
        return await self.put(content)

    async def get(self, name: Digest) -> bytes:
        if name not in self.contents:
            raise NotFoundError("no such blob")
        return self.contents[name]

    async def open(self, name: Digest, *, offset: int = 0) -> AsyncIterator[bytes]:
        content = await self.get(name)
        for start in range(offset, len(content), 1_000):
            yield content[start : start + 1_000]

    async def fetch(self, name: Digest, target: Path) -> None:
        await asyncio.to_thread(target.write_bytes, await self.get(name))

    async def missing(self, digests: Sequence[Digest]) -> list[Digest]:
        return [name for name in digests if name not in self.contents]

    async def size(self, name: Digest) -> int | None:
        return len(self.contents[name]) if name in self.contents else None

    async def download_url(self, name: Digest, *, ttl_seconds: float) -> str | None:
        return None

    async def upload_url(self, name: Digest, *, ttl_seconds: float) -> str | None:
        return None

    async def collect(self, referenced: AsyncIterator[Digest], *, older_than_seconds: float) -> int:
        assert older_than_seconds >= 0
        live = frozenset([name async for name in referenced])
        self.collected.append(live)
        gone = set(self.contents) - live
        for name in gone:
            del self.contents[name]
        return len(gone)


@dataclass
class Actor:
    """An agent, as far as a scheduler can tell."""

    api: SchedulerApi
    clock: ManualClock
    owner: str
    key: PrivateKey = field(default_factory=PrivateKey.generate)
    session: str = ""
    capacity: int = 512
    held: tuple[Epoch, ...] = ()
    power: PowerStatus = field(default_factory=PowerStatus)

    @property
    def device(self) -> Any:
        return self.key.public.device_id

    def registration(self, **changes: Any) -> RegisterRequest:
        request = RegisterRequest(
            public_key=self.key.public.raw,
            owner=self.owner,
            site="here",
            name=f"pc of {self.owner}",
            facts=Facts(python="3.11", memory_bytes=8 << 30, disk_free_bytes=1 << 40, cpus=4),
            power=self.power,
            boot="boot-1",
            signed_at=self.clock.now(),
            capacity=self.capacity,
        )
        return sign_registration(replace(request, **changes), self.key)

    async def register(self) -> RegisterReply:
        reply = await self.api.register(self.registration())
        self.session = reply.session
        return reply

    def status(self, **changes: Any) -> AgentStatus:
        status = AgentStatus(
            device=self.device,
            session=self.session,
            power=self.power,
            held=self.held,
            capacity=self.capacity,
            disk_free_bytes=1 << 40,
        )
        return replace(status, **changes)

    def poll_request(
        self, *, wanted: int = 512, wait: float = 0.0, batches: Sequence[Batch] = (), known: Sequence[JobId] = ()
    ) -> PollRequest:
        return PollRequest(
            status=self.status(), wanted=wanted, wait_seconds=wait, batches=tuple(batches), known_jobs=tuple(known)
        )

    async def poll(self, **asked: Any) -> PollReply:
        reply = await self.api.poll(self.poll_request(**asked))
        self.held = tuple(grant.epoch for grant in reply.grants)
        return reply

    async def heartbeat(self) -> Reply:
        return await self.api.heartbeat(HeartbeatRequest(status=self.status()))

    async def submit(self, *batches: Batch) -> Reply:
        return await self.api.submit(SubmitRequest(status=self.status(), batches=batches))

    def results(self, grant: Grant, **changes: Any) -> Batch:
        """What came out of a grant: each task gives its own index."""
        items = tuple(
            Item(
                task.index,
                task.attempt,
                grant.epoch,
                Outcome.RESULT,
                payload=b"d%d" % task.index,
                seconds=0.001,
            )._replace(**changes)
            for task in grant.tasks
        )
        return self.sign(Batch(job=grant.job, device=self.device, items=items))

    def sign(self, batch: Batch) -> Batch:
        return encode_batch(sign_batch(batch, self.key))


class World:
    """A scheduler and everything around it."""

    def __init__(self, **limits: Any) -> None:
        self.clock = ManualClock()
        self.blobs = DictBlobs()
        self.person = PrivateKey.generate()
        self.settings = StoreSettings(clock=self.clock, item_payload=item_payload, batch_blobs=batch_blobs)
        self.store: Store = MemoryStore(self.settings)
        self.keyring = Keyring([self.person.public])
        self.trusted: set[Any] = set()
        self.limits = SchedulerLimits(**{"sweep_seconds": 1_000.0, "collect_seconds": 0.0, **limits})
        self.rules = GridRules(audit_key=bytes(32), agree=lambda *_: False, settings=AgentSettings())
        self._secrets = count(1)
        self.scheduler = self.make()

    def make(self) -> Scheduler:
        return Scheduler(
            store=self.store,
            blobs=self.blobs,
            clock=self.clock,
            rng=Random(1),
            rules=self.rules,
            limits=self.limits,
            keys=lambda: self.keyring,
            trusted=lambda device: device in self.trusted,
            new_secret=lambda: f"secret-{next(self._secrets)}",
            sealer=None,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[World]:
        await self.scheduler.start()
        try:
            yield self
        finally:
            await self.scheduler.stop()

    def actor(self, owner: str = "anna", *, trusted: bool = False, api: SchedulerApi | None = None) -> Actor:
        actor = Actor(api=api or self.scheduler.agents, clock=self.clock, owner=owner)
        if trusted:
            self.trusted.add(actor.device)
        return actor

    async def job(
        self, tasks: int = 3, *, mode: VerifyMode = VerifyMode.NONE, page_tasks: int = 100, **changes: Any
    ) -> bytes:
        """A signed job all of whose blobs are stored."""
        pages, page_list, arguments = make_pages([b"d%d" % n for n in range(tasks)], page_tasks)
        wheel = await self.blobs.put(b"a wheel")
        bundle = build_bundle(
            {"search.py": BundleFile(b"def f(x): return x")},
            engine="python",
            entry=ModuleEntry("search", "f"),
            environment=(Wheel("a-1.0-py3-none-any.whl", wheel, 7),),
            key=self.person,
        )
        for content in (*pages, page_list, bundle):
            await self.blobs.put(content)
        spec = JobSpec(
            name="a job",
            bundle=digest(bundle),
            arguments=arguments,
            not_after=self.clock.now() + 3_600.0,
            nonce=str(next(self._secrets)),
            verify=VerifyPolicy(mode=mode),
        )
        return sign_job(replace(spec, **changes), self.person)
