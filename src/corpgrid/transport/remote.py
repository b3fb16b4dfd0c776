"""The client's side of every call, whatever carries the bytes: ports in, wire out.

``RemoteScheduler`` and ``RemoteGrid`` are what an agent and the SDK hold; a ``Wire`` is a socket or a loopback.  A blob
that comes is written to a temporary file beside its target and takes its name only when its digest was right.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeVar

from corpgrid.domain.answers import AttemptLog, Cursor, Explanation, GridInfo, Report, ResultsPage
from corpgrid.domain.attempt import Attempt
from corpgrid.domain.device import Device, DeviceState
from corpgrid.domain.ids import DeviceId, Digest, JobId
from corpgrid.domain.job import Job, JobState, Task, TaskState
from corpgrid.domain.messages import (
    CheckpointRequest,
    HeartbeatRequest,
    PollReply,
    PollRequest,
    RegisterReply,
    RegisterRequest,
    Reply,
    SubmitRequest,
)
from corpgrid.transport.direct import Direct
from corpgrid.trust.digest import Hasher, digest, require, require_digest
from corpgrid.wire import convert_ask as ask
from corpgrid.wire import methods
from corpgrid.wire.methods import Method, PutPart

Q = TypeVar("Q")
R = TypeVar("R")
Parts = Callable[[], AsyncIterator[PutPart]]
"""Begins a stream anew, for a wire that tries again."""
CHUNK_BYTES = 1 << 20


class Wire(Protocol):
    """Carries calls; tries again where that is safe, and raises only errors of ``errors``."""

    async def call(self, method: Method[Any, Q, R], request: Q) -> R:
        """One unary call."""

    async def put(self, parts: Parts) -> Digest:
        """Store a blob."""

    def get(self, name: Digest) -> AsyncIterator[bytes]:
        """A blob's bytes, which nobody has verified."""

    async def close(self) -> None:
        """Let go."""


class RemoteBlobs:
    """``ports.BlobApi`` over a wire, and past it where the grid's blobs have addresses of their own."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._direct = Direct(lambda name, put_bytes: self.locate_blob(name, put_bytes=put_bytes))

    async def get_blob(self, digest: Digest) -> bytes:
        """A small blob, whole and verified."""
        parts: list[bytes] = []
        if await self._direct.get(digest, parts.append):
            return b"".join(parts)
        content = b"".join([chunk async for chunk in self._wire.get(digest)])
        require(digest, content, what="the blob")
        return content

    async def fetch_blob(self, digest: Digest, target: Path) -> None:
        """A large blob into a new file, verified."""
        partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
        try:
            with partial.open("xb") as file:
                if not await self._direct.get(digest, lambda chunk: _write(file, chunk)):
                    file.seek(0)
                    file.truncate()
                    await self._stream_into(digest, file)
            os.replace(partial, target)  # noqa: PTH105 -- one step, on every system
        finally:
            partial.unlink(missing_ok=True)

    async def put_blob(self, content: bytes) -> Digest:
        """Store bytes."""
        expected = digest(content)
        size_bytes = len(content)
        if self._direct.takes(size_bytes) and await self._direct.put(expected, size_bytes, lambda: BytesIO(content)):
            return expected

        async def parts() -> AsyncIterator[PutPart]:
            view = memoryview(content)
            yield PutPart(bytes(view[:CHUNK_BYTES]), expected)
            for start in range(CHUNK_BYTES, len(content), CHUNK_BYTES):
                yield PutPart(bytes(view[start : start + CHUNK_BYTES]))

        require_digest(expected, await self._wire.put(parts), what="the stored blob")
        return expected

    async def put_blob_file(self, path: Path) -> Digest:
        """Store a file."""
        size_bytes = (await asyncio.to_thread(path.stat)).st_size
        if self._direct.takes(size_bytes):
            name = await asyncio.to_thread(_digest_of_file, path)
            if await self._direct.put(name, size_bytes, lambda: path.open("rb")):
                return name
        hasher = Hasher()

        async def parts() -> AsyncIterator[PutPart]:
            nonlocal hasher
            hasher = Hasher()
            with path.open("rb") as file:
                while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
                    hasher.update(chunk)
                    yield PutPart(chunk)

        stored = await self._wire.put(parts)
        require_digest(hasher.digest(), stored, what=f"the stored copy of {path.name}")
        return stored

    async def missing_blobs(self, digests: Sequence[Digest]) -> list[Digest]:
        """Those of ``digests`` that are not stored."""
        return await self._wire.call(methods.MISSING_BLOBS, list(digests))

    async def locate_blob(self, digest: Digest, *, put_bytes: int | None = None) -> str | None:
        """Where this program can fetch it, or store it, by itself."""
        return await self._wire.call(methods.LOCATE_BLOB, methods.LocateBlob(digest, put_bytes))

    async def close(self) -> None:
        """Let go of the connection."""
        await self._wire.close()

    async def _stream_into(self, digest: Digest, file: BinaryIO) -> None:
        hasher = Hasher()
        async for chunk in self._wire.get(digest):
            hasher.update(chunk)
            await asyncio.to_thread(file.write, chunk)
        require_digest(digest, hasher.digest(), what="the blob")


class RemoteScheduler(RemoteBlobs):
    """``ports.SchedulerApi`` over a wire."""

    async def register(self, request: RegisterRequest) -> RegisterReply:
        """RegisterAgent."""
        return await self._wire.call(methods.REGISTER_AGENT, request)

    async def poll(self, request: PollRequest) -> PollReply:
        """PollJobs, a long poll."""
        return await self._wire.call(methods.POLL_JOBS, request)

    async def heartbeat(self, request: HeartbeatRequest) -> Reply:
        """Heartbeat."""
        return await self._wire.call(methods.HEARTBEAT, request)

    async def submit(self, request: SubmitRequest) -> Reply:
        """SubmitResult."""
        return await self._wire.call(methods.SUBMIT_RESULT, request)

    async def checkpoint(self, request: CheckpointRequest) -> Reply:
        """ReportCheckpoint."""
        return await self._wire.call(methods.REPORT_CHECKPOINT, request)


class RemoteGrid(RemoteBlobs):
    """``ports.GridApi`` over a wire."""

    async def info(self) -> GridInfo:
        """Who answers, and under which limits."""
        return await self._wire.call(methods.GET_INFO, ask.AskInfo())

    async def submit_job(self, envelope: bytes, *, blobs: Sequence[bytes] = ()) -> Job:
        """Store small blobs, then the job."""
        return await self._wire.call(methods.SUBMIT_JOB, ask.SubmitJob(envelope, tuple(blobs)))

    async def cancel_job(self, job: JobId, *, reason: str = "") -> Job:
        """No more of it."""
        return await self._wire.call(methods.CANCEL_JOB, ask.CancelJob(job, reason))

    async def job(self, job: JobId) -> Job:
        """One job."""
        return await self._wire.call(methods.GET_JOB, ask.AskJob(job))

    async def jobs(self, *, states: Sequence[JobState] = (), limit: int = 100) -> list[Job]:
        """The newest jobs, newest first."""
        return await self._wire.call(methods.LIST_JOBS, ask.AskJobs(tuple(states), limit))

    async def tasks(
        self, job: JobId, *, states: Sequence[TaskState] = (), after: int = -1, limit: int = 1_000
    ) -> list[Task]:
        """Tasks with an index above ``after``, by index."""
        return await self._wire.call(methods.LIST_TASKS, ask.AskTasks(job, tuple(states), after, limit))

    async def attempts(self, job: JobId, index: int) -> list[Attempt]:
        """All attempts of a task, by number."""
        return await self._wire.call(methods.LIST_ATTEMPTS, ask.AskTask(job, index))

    async def results(self, job: JobId, *, after: Cursor, limit: int = 1_000, wait_seconds: float = 0) -> ResultsPage:
        """What ended after the cursor."""
        request = ask.AskResults(job, after, limit, wait_seconds, provisional=False)
        return await self._wire.call(methods.FETCH_RESULTS, request)

    async def provisional(self, job: JobId, *, after: Cursor, limit: int = 1_000) -> ResultsPage:
        """What may still be audited."""
        request = ask.AskResults(job, after, limit, 0.0, provisional=True)
        return await self._wire.call(methods.FETCH_RESULTS, request)

    async def log(self, job: JobId, index: int) -> list[AttemptLog]:
        """What each attempt of a task printed."""
        return await self._wire.call(methods.GET_LOG, ask.AskTask(job, index))

    async def explain_job(self, job: JobId) -> Explanation:
        """Why it has not ended."""
        return await self._wire.call(methods.EXPLAIN_JOB, ask.AskJob(job))

    async def report(self, job: JobId) -> Report:
        """How far its results can be believed."""
        return await self._wire.call(methods.GET_REPORT, ask.AskJob(job))

    async def devices(self) -> list[Device]:
        """All devices, by id."""
        return await self._wire.call(methods.LIST_DEVICES, ask.AskDevices())

    async def device(self, device: DeviceId) -> Device:
        """One device."""
        return await self._wire.call(methods.GET_DEVICE, ask.AskDevice(device))

    async def set_device(self, device: DeviceId, state: DeviceState, *, reason: str = "") -> Device:
        """Pause, resume, drain, quarantine or revoke it."""
        return await self._wire.call(methods.SET_DEVICE, ask.SetDevice(device, state, reason))

    async def explain_device(self, device: DeviceId) -> Explanation:
        """Why it has no work."""
        return await self._wire.call(methods.EXPLAIN_DEVICE, ask.AskDevice(device))


def _write(file: BinaryIO, chunk: bytes) -> None:
    file.write(chunk)


def _digest_of_file(path: Path) -> Digest:
    hasher = Hasher()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            hasher.update(chunk)
    return hasher.digest()
