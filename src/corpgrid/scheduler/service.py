"""What agents ask: checked here, decided in a tick, answered after its commit.

Rules:
* RegisterAgent proves a key and gives a session's secret; every other request must carry it.  The secret itself is
  known to the agent alone: the grid keeps its digest.
* Results are verified before they come near the rules (``evidence``).
* A poll that brings results is answered by its own tick; one that brings none may wait for work, for at most
  ``poll_wait_seconds``.  Grants go out with the signed specifications that the agent does not know yet.
* When the scheduler drains, no poll waits; results are still taken.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from corpgrid.domain.events import Checkpointed, DeviceRegistered, Heartbeat, Polled, Submitted
from corpgrid.domain.ids import DeviceId, Digest, digest_text
from corpgrid.domain.messages import (
    AgentSettings,
    AgentStatus,
    Batch,
    CheckpointRequest,
    HeartbeatRequest,
    PollReply,
    PollRequest,
    RegisterReply,
    RegisterRequest,
    Reply,
    SubmitRequest,
)
from corpgrid.errors import ConflictError
from corpgrid.ports.blobs import Blobs
from corpgrid.ports.host import Clock
from corpgrid.scheduler.attachments import Attachments
from corpgrid.scheduler.evidence import Evidence
from corpgrid.scheduler.sessions import Sessions, secret_digest
from corpgrid.scheduler.specs import Specs
from corpgrid.scheduler.tick import Tick
from corpgrid.trust.results import verify_registration

log = logging.getLogger(__name__)

_URL_SECONDS = 900.0
"""Life of a blob's address.  Who holds it need only have begun until then; what is longer is of use to a thief."""


class DirectBlobs:
    """``ports.BlobApi`` in the scheduler's own process."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    async def get_blob(self, digest: Digest) -> bytes:
        """A small blob, whole and verified."""
        return await self._blobs.get(digest)

    async def fetch_blob(self, digest: Digest, target: Path) -> None:
        """A large blob into a new file, verified."""
        await self._blobs.fetch(digest, target)

    async def put_blob(self, content: bytes) -> Digest:
        """Store bytes."""
        return await self._blobs.put(content)

    async def put_blob_file(self, path: Path) -> Digest:
        """Store a file."""
        return await self._blobs.put_file(path)

    async def missing_blobs(self, digests: Sequence[Digest]) -> list[Digest]:
        """Those of ``digests`` that are not stored."""
        return await self._blobs.missing(digests)

    async def locate_blob(self, digest: Digest, *, put_bytes: int | None = None) -> str | None:
        """Where the caller can fetch it, or store it, by itself."""
        if put_bytes is None:
            return await self._blobs.download_url(digest, ttl_seconds=_URL_SECONDS)
        return await self._blobs.upload_url(digest, ttl_seconds=_URL_SECONDS)

    async def close(self) -> None:
        """Nothing to let go of."""


class AgentService(DirectBlobs):
    """``ports.SchedulerApi``.

    Args:
        tick: what decides.
        blobs: where bytes stand.
        clock: against which registrations are dated.
        sessions: who speaks.
        evidence: what verifies results.
        specs: signed specifications of stored jobs.
        attachments: small blobs that ride with new work.
        settings: what agents are told.
        trusted: whether a device is the operator's own.
        new_secret: makes a session's secret, which nobody can guess.
    """

    def __init__(  # noqa: PLR0913 -- what the service stands on, by name
        self,
        *,
        tick: Tick,
        blobs: Blobs,
        clock: Clock,
        sessions: Sessions,
        evidence: Evidence,
        specs: Specs,
        attachments: Attachments,
        settings: AgentSettings,
        trusted: Callable[[DeviceId], bool],
        new_secret: Callable[[], str],
    ) -> None:
        super().__init__(blobs)
        self._tick = tick
        self._clock = clock
        self._sessions = sessions
        self._evidence = evidence
        self._specs = specs
        self._attachments = attachments
        self._settings = settings
        self._trusted = trusted
        self._new_secret = new_secret

    async def register(self, request: RegisterRequest) -> RegisterReply:
        """RegisterAgent."""
        device = verify_registration(request, now=self._clock.now()).device_id
        secret = self._new_secret()
        event = DeviceRegistered(
            ticket=self._tick.ticket(),
            device=device,
            request=request,
            session=secret_digest(secret),
            trusted=self._trusted(device),
        )
        reply = await self._tick.answer(RegisterReply, event)
        log.info("device registered device=%s owner=%s site=%s", device, request.owner, request.site)
        return replace(reply, session=secret)

    async def poll(self, request: PollRequest) -> PollReply:
        """PollJobs, a long poll."""
        batches = await self._results(request.status, request.batches)
        wait_seconds = 0.0 if batches else min(request.wait_seconds, self._settings.poll_wait_seconds)
        event = Polled(
            ticket=self._tick.ticket(),
            status=request.status,
            wanted=request.wanted,
            known_jobs=frozenset(request.known_jobs),
            batches=batches,
            due=wait_seconds <= 0,
        )
        reply = await self._tick.answer(PollReply, event, wait_seconds=wait_seconds)
        unknown = {grant.job for grant in reply.grants} - event.known_jobs
        if not unknown:
            return reply
        envelopes = await self._specs.envelopes(unknown)
        specs = [await self._specs.spec(job) for job in unknown]
        return replace(reply, specs=envelopes, blobs=await self._attachments.of(specs))

    async def heartbeat(self, request: HeartbeatRequest) -> Reply:
        """Heartbeat."""
        await self._sessions.check(request.status)
        return await self._tick.answer(Reply, Heartbeat(ticket=self._tick.ticket(), status=request.status))

    async def submit(self, request: SubmitRequest) -> Reply:
        """SubmitResult."""
        batches = await self._results(request.status, request.batches)
        event = Submitted(ticket=self._tick.ticket(), status=request.status, batches=batches)
        return await self._tick.answer(Reply, event)

    async def checkpoint(self, request: CheckpointRequest) -> Reply:
        """ReportCheckpoint."""
        await self._sessions.check(request.status)
        if await self._blobs.missing([request.blob]):
            raise ConflictError(
                f"the checkpoint's blob {digest_text(request.blob)} is not stored",
                remedy="Store the blob, then report the checkpoint again.",
            )
        return await self._tick.answer(Reply, Checkpointed(ticket=self._tick.ticket(), request=request))

    async def _results(self, status: AgentStatus, batches: Sequence[Batch]) -> tuple[Batch, ...]:
        key = (await self._sessions.check(status)).key
        return await self._evidence.admit(status, batches, key) if batches else ()
