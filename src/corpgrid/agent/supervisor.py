"""The agent at work: carries out what the session says, and tells it what came of it.

All decisions are the session's.  Here are only the tasks that wait, one for each request under way, one for each slot,
and one that watches the host; and the timer that wakes the session when its time comes.  Freezing and killing happen in
the same step as the news that asks for them, before anything else is awaited; what the session wants next is asked once
the loop has handed over all news that came together.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any

from corpgrid.agent.bell import Bell
from corpgrid.agent.host_watch import HostWatch
from corpgrid.agent.instructions import Beat, Freeze, Instruction, LearnSpecs, Poll, Register, StopRunners, Submit, Thaw
from corpgrid.agent.requests import Requests
from corpgrid.agent.runners import RunnerPool
from corpgrid.agent.session import Host, Session
from corpgrid.agent.slot import Slot
from corpgrid.domain.ids import JobId
from corpgrid.domain.messages import Item
from corpgrid.ports.host import Clock

log = logging.getLogger(__name__)

_CLOSE_SECONDS = 5.0


class Supervisor:
    """One agent.  ``run`` works until ``stop`` is called."""

    def __init__(  # noqa: PLR0913 - the parts of an agent, by keyword
        self,
        *,
        session: Session,
        requests: Requests,
        runners: RunnerPool,
        watch: HostWatch,
        slots: list[Slot],
        clock: Clock,
    ) -> None:
        self._session = session
        self._requests = requests
        self._runners = runners
        self._watch = watch
        self._slots = slots
        self._clock = clock
        self._work_came = Bell()
        self._advancing = False
        self._ended = False
        self._timer: asyncio.TimerHandle | None = None
        self._drained = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._told = ""

    def stop(self) -> None:
        """Hand everything back, then end."""
        if not self._over.done():
            self._over.set_result(None)

    async def run(self) -> None:
        """Work until ``stop``; whatever happens, no runner outlives it."""
        self._session.host = await self._watch.first()
        try:
            self._spawn(self._watch.run(self._host_changed))
            self._advance_soon()
            self._spawn(self._runners.keep_spares(lambda: self._session.may_run))
            for slot in self._slots:
                self._spawn(slot.run(self._work_came, self._finished))
            await self._over
            await self._close()
        finally:
            await self._end_all()

    async def _close(self) -> None:
        self._carry_out(self._session.close(now=self._clock.monotonic()))
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._drained.wait()
        except TimeoutError:
            log.warning("the scheduler did not answer in time; the leases will run out by themselves")

    async def _end_all(self) -> None:
        self._ended = True
        if self._timer is not None:
            self._timer.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._runners.close()

    def _advance_soon(self) -> None:
        if not self._advancing:
            self._advancing = True
            asyncio.get_running_loop().call_soon(self._advance)

    def _advance(self) -> None:
        """Ask the session what it wants now, and when it wants to be asked again."""
        if self._ended:
            return
        if self._timer is not None:
            self._timer.cancel()
        now = self._clock.monotonic()
        try:
            self._carry_out(self._session.advance(now=now))
        except Exception as error:  # noqa: BLE001 - as in any of its tasks: the agent ends with it
            self._failed(error)
            return
        self._advancing = False
        self._timer = asyncio.get_running_loop().call_later(self._session.next_due(now=now), self._advance_soon)

    def _host_changed(self, host: Host) -> None:
        was = self._session.host
        if (host.allows_work, host.reason) != (was.allows_work, was.reason):
            log.info("host allows_work=%s reason=%s", host.allows_work, host.reason or "-")
        self._carry_out(self._session.host_changed(host, now=self._clock.monotonic()))

    def _finished(self, job: JobId, items: Sequence[Item]) -> None:
        self._carry_out(self._session.finished(job, items, now=self._clock.monotonic()))

    def _carry_out(self, instructions: Iterable[Instruction]) -> None:
        for instruction in instructions:
            match instruction:
                case Register() | Poll() | Submit() | Beat():
                    self._spawn(self._ask(instruction))
                case LearnSpecs(specs=specs, blobs=blobs):
                    self._runners.learn(specs, blobs)
                case Freeze():
                    self._runners.freeze()
                case Thaw():
                    self._runners.thaw()
                case StopRunners(jobs=jobs):
                    self._runners.kill(jobs)
        self._tell_of_orders()
        if self._session.queue.jobs() and self._session.may_run:
            self._work_came.ring()
        if self._session.drained:
            self._drained.set()
        self._advance_soon()

    def _tell_of_orders(self) -> None:
        """Log it once when the scheduler says stop, and when it says go on."""
        if self._session.message != self._told:
            self._told = self._session.message
            log.info("the scheduler says: %s", self._told or "go on")

    async def _ask(self, request: Register | Poll | Submit | Beat) -> None:
        self._carry_out(await self._requests.carry_out(request, self._runners.known_jobs()))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed(error)

    def _failed(self, error: BaseException) -> None:
        if not self._over.done():
            self._over.set_exception(error)
