"""Carries out the session's requests: signs results, asks the scheduler, and tells the session what came of it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

from corpgrid.agent.instructions import Batches, Beat, Instruction, Poll, Register, Submit
from corpgrid.agent.session import Session
from corpgrid.domain.device import Facts
from corpgrid.domain.ids import DeviceId, JobId
from corpgrid.domain.messages import Batch, HeartbeatRequest, PollRequest, RegisterRequest, SubmitRequest
from corpgrid.errors import CorpGridError, OverloadedError, RefusedError, UnavailableError
from corpgrid.ports.api import SchedulerApi
from corpgrid.ports.host import Clock
from corpgrid.trust.keys import PrivateKey
from corpgrid.trust.results import sign_batch, sign_registration

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who this agent says it is."""

    key: PrivateKey
    owner: str
    site: str
    name: str
    boot: str
    facts: Callable[[], Facts]

    @property
    def device(self) -> DeviceId:
        """The id that follows from the key."""
        return self.key.public.device_id


class Requests:
    """The agent's conversation with its scheduler."""

    def __init__(self, api: SchedulerApi, session: Session, identity: Identity, clock: Clock) -> None:
        self._api = api
        self._session = session
        self._identity = identity
        self._clock = clock
        self._offline = False

    async def carry_out(
        self, request: Register | Poll | Submit | Beat, known_jobs: tuple[JobId, ...]
    ) -> list[Instruction]:
        """Ask, and what to do next."""
        try:
            instructions = await self._ask(request, known_jobs)
        except CorpGridError as error:
            if not self._offline:
                log.warning("%s was not answered: %s", type(request).__name__.lower(), error)
            self._offline = True
            refused = isinstance(error, RefusedError)
            fault = "" if refused or isinstance(error, (UnavailableError, OverloadedError)) else error.explain()
            pause = error.retry_after_seconds if isinstance(error, OverloadedError) else 0.0
            return self._session.failed(
                request, refused=refused, fault=fault, pause_seconds=pause, now=self._clock.monotonic()
            )
        if self._offline:
            log.info("the scheduler answers again")
        self._offline = False
        return instructions

    async def _ask(self, request: Register | Poll | Submit | Beat, known_jobs: tuple[JobId, ...]) -> list[Instruction]:
        session, api = self._session, self._api
        match request:
            case Register():
                registered = await api.register(self._registration(request))
                return session.registered(registered, now=self._clock.monotonic())
            case Poll():
                poll = PollRequest(
                    status=request.status,
                    wanted=request.wanted,
                    wait_seconds=request.wait_seconds,
                    known_jobs=known_jobs,
                    batches=self._signed(request.batches),
                )
                polled = await api.poll(poll)
                return session.polled(polled, now=self._clock.monotonic())
            case Submit():
                batches = self._signed(request.batches)
                submitted = await api.submit(SubmitRequest(status=request.status, batches=batches))
                return session.submitted(submitted, now=self._clock.monotonic())
            case Beat():
                beaten = await api.heartbeat(HeartbeatRequest(status=request.status))
                return session.beaten(beaten, now=self._clock.monotonic())

    def _registration(self, request: Register) -> RegisterRequest:
        identity, host = self._identity, self._session.host
        facts = replace(identity.facts(), thermal_headroom=host.thermal_headroom)
        unsigned = RegisterRequest(
            public_key=identity.key.public.raw,
            owner=identity.owner,
            site=identity.site,
            name=identity.name,
            facts=facts,
            power=host.power,
            boot=identity.boot,
            signed_at=self._clock.now(),
            capacity=self._session.queue.slots,
            blockers=host.blockers,
            held=request.held,
        )
        return sign_registration(unsigned, identity.key)

    def _signed(self, batches: Batches) -> tuple[Batch, ...]:
        device, key = self._identity.device, self._identity.key
        return tuple(sign_batch(Batch(job, device, tuple(items)), key) for job, items in batches.items())
