"""The tick: gather what happened, decide on all of it at once, commit, and only then answer.

Rules:
* While one transaction is in flight, everything that arrives gathers for the next: durability costs one write a tick,
  not one an event, and the busier the grid, the larger the ticks.
* Nobody is answered before what they are told is durable.  Each event has a ticket, each ticket one waiter.  An event
  whose waiter has gone before its tick is left out: nobody was told anything, so whoever sent it will send it again.
* A poll that is not answered is parked (``parking``) and put to later ticks when they may have work for it.  When its
  wait is over it is answered without a tick, for nothing that it would be told has changed.
* What waits is bounded.  As the queue fills, what can come later is turned away first: polls that bring nothing, then
  registrations, then heartbeats and what people ask, and results last; each is told when to come back.
* A stale view is read again.  When the store fails, every waiter of the tick is told to come back, and the next tick
  comes after a pause.  When the rules fail (a bug), the tick is cut in halves until the event that breaks them stands
  alone: only its sender is turned away.

    tick = Tick(store, need=need, decide=decide, limits=limits, counters=counters)
    running = asyncio.create_task(tick.run())
    reply = await tick.ask(Heartbeat(ticket=tick.ticket(), status=status))
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import TypeVar

from corpgrid.domain.effects import Effects, Need, View
from corpgrid.domain.events import DeviceRegistered, Event, JobSubmitted, Polled, Submitted, Swept
from corpgrid.domain.hints import Hint, hint_of
from corpgrid.domain.messages import PollReply
from corpgrid.errors import CorpGridError, GridError, OverloadedError, StaleError, StoreError, UnavailableError
from corpgrid.ports.store import Store
from corpgrid.scheduler.counters import Counters
from corpgrid.scheduler.limits import SchedulerLimits
from corpgrid.scheduler.parking import ParkedPolls

log = logging.getLogger(__name__)

T = TypeVar("T")
NeedOf = Callable[[Sequence[Event]], Need]
DecideOn = Callable[[View, Sequence[Event]], Effects]
Committed = Callable[[View, Effects, Hint], None]

_WAIT_STEP_SECONDS = 0.25
"""Waits of parked polls end together at such steps, so that agents that come back come in few ticks."""
_SOON_SECONDS = 0.5
_LATEST_SECONDS = 30.0
_NO_ANSWER = object()


@dataclass(slots=True)
class _Waiter:
    """Somebody who sent an event and waits for what is said to it; ``over``: waits no longer for work."""

    event: Event
    answer: asyncio.Future[object]
    over: bool = False


class Tick:
    """The loop that turns events into commits and answers.

    Args:
        store: all state.
        need: which rows events touch.
        decide: what comes of events on a view; called in the store's thread, one call at a time.
        limits: how much waits, and how much is decided at once.
        counters: what is counted.
        committed: told of each commit, before anybody is answered.
        shared: whether other schedulers tick on the same store.
    """

    def __init__(  # noqa: PLR0913 -- what a tick stands on, by name
        self,
        store: Store,
        *,
        need: NeedOf,
        decide: DecideOn,
        limits: SchedulerLimits,
        counters: Counters,
        committed: Committed = lambda _view, _effects, _hint: None,
        shared: bool = False,
    ) -> None:
        self._store = store
        self._need = need
        self._decide = decide
        self._limits = limits
        self._counters = counters
        self._committed = committed
        self._shared = shared
        self._tickets = count(1)
        self._waiters: dict[int, _Waiter] = {}
        self._queue: deque[_Waiter] = deque()
        self._parked = ParkedPolls()
        self._asked: frozenset[int] = frozenset()
        self._wake = asyncio.Event()
        self._pause_seconds = limits.store_pause_seconds
        self._brings_work = False
        self._draining = False
        self._closing = False

    def ticket(self) -> int:
        """A number for a new event."""
        return next(self._tickets)

    async def ask(self, event: Event, *, wait_seconds: float = 0.0) -> object:
        """Put an event to the next tick, and wait for what is said to it after the commit; None if nothing is.

        Args:
            event: what happened.
            wait_seconds: (``Polled``) how long it may wait for work; then it is answered with none.

        Raises:
            CorpGridError: the answer is no.
            OverloadedError: too many events wait.
            UnavailableError: the scheduler stops, or its store failed.
        """
        if self._closing:
            raise UnavailableError("the scheduler is stopping", remedy="Try again in a few seconds.")
        if len(self._queue) >= _share(event) * self._limits.queue_events:
            self._counters.overloads += 1
            raise OverloadedError(
                f"{len(self._queue):,} events wait where queue_events allows {self._limits.queue_events:,}",
                retry_after_seconds=self._drained_in(),
            )
        loop = asyncio.get_running_loop()
        waiter = _Waiter(event, loop.create_future())
        self._waiters[event.ticket] = waiter
        self._queue.append(waiter)
        self._brings_work |= isinstance(event, JobSubmitted)
        self._wake.set()
        timer = loop.call_at(_step(loop.time(), wait_seconds), self._wait_over, waiter) if wait_seconds > 0 else None
        try:
            return await waiter.answer
        finally:
            if timer is not None:
                timer.cancel()
            del self._waiters[event.ticket]
            self._parked.remove(event.ticket)

    async def answer(self, kind: type[T], event: Event, *, wait_seconds: float = 0.0) -> T:
        """Like ``ask``, for an event to which the rules always say a ``kind``."""
        said = await self.ask(event, wait_seconds=wait_seconds)
        assert isinstance(said, kind), (event, said)
        return said

    async def run(self) -> None:
        """Tick until ``close``."""
        try:
            while await self._something():
                events = self._gather()
                if events:
                    await self._settle(events)
                self._asked = frozenset()
        finally:
            self._closing = True
            for waiter in list(self._waiters.values()):
                _turn_away(waiter, UnavailableError("the scheduler stopped before it came to this"))

    def drain(self) -> None:
        """No poll waits any longer; everything else goes on."""
        self._draining = True
        for ticket in self._parked.tickets():
            self._wait_over(self._waiters[ticket])

    def close(self) -> None:
        """Take no new events; what waits is decided, and then ``run`` ends."""
        self.drain()
        self._closing = True
        self._wake.set()

    async def _something(self) -> bool:
        """Wait until there is something to decide; False: never again."""
        while not (self._queue or self._parked.waiting):
            if self._closing:
                return False
            self._wake.clear()
            await self._wake.wait()
        # Whatever else is ready to run in this turn of the loop may join the tick.
        await asyncio.sleep(0)
        return True

    def _gather(self) -> list[Event]:
        """The next tick's events; parked polls first, so that a device's newest poll is its last."""
        if self._brings_work:
            # Its tasks are placed in the tick that admits it, also on a device whose poll the last tick parked.
            self._parked.stir()
            self._brings_work = False
        events: list[Event] = list(self._parked.take(self._limits.tick_polls))
        self._asked = frozenset(event.ticket for event in events)
        items, most = 0, len(events) + self._limits.tick_events
        while self._queue and len(events) < most and items < self._limits.tick_items:
            waiter = self._queue.popleft()
            if not waiter.answer.done():
                events.append(waiter.event)
                items += _items(waiter.event)
        self._counters.parked_asked += len(self._asked)
        self._counters.events += len(events)
        self._counters.queue_length = len(self._queue)
        return events

    async def _settle(self, events: Sequence[Event]) -> None:
        try:
            view, effects = await self._transact(events)
        except StoreError as error:
            await self._store_failed(events, error)
        except Exception as error:  # noqa: BLE001 -- whatever breaks the rules must not break the loop; it is logged
            await self._isolate(events, error)
        else:
            self._pause_seconds = self._limits.store_pause_seconds
            hint = hint_of(view, effects)
            self._committed(view, effects, hint)
            self._answer(events, effects)
            self._stir(events, view, hint)

    async def _transact(self, events: Sequence[Event]) -> tuple[View, Effects]:
        need, views = self._need(events), list[View]()

        def decide(view: View) -> Effects:
            views.append(view)
            return self._decide(view, events)

        start = time.perf_counter()
        for tries in count(1):
            try:
                effects = await self._store.transact(need, decide)
                break
            except StaleError:
                self._counters.stale_ticks += 1
                if tries >= self._limits.stale_tries:
                    raise
        self._counters.committed(time.perf_counter() - start)
        self._counters.grants += len(effects.new_attempts)
        return views[-1], effects

    def _answer(self, events: Sequence[Event], effects: Effects) -> None:
        for event in events:
            waiter = self._waiters.get(event.ticket)
            if waiter is None or waiter.answer.done():
                continue
            answer = effects.replies.get(event.ticket, _NO_ANSWER)
            if isinstance(answer, CorpGridError):
                _turn_away(waiter, answer)
            elif answer is not _NO_ANSWER:
                waiter.answer.set_result(answer)
            elif not isinstance(event, Polled):
                waiter.answer.set_result(None)
            elif waiter.over or self._draining:
                waiter.answer.set_result(_nothing_new(event))
            elif event.first and len(self._parked) >= self._limits.parked_polls:
                self._counters.overloads += 1
                parked = f"{len(self._parked):,} polls wait where parked_polls allows no more"
                _turn_away(waiter, OverloadedError(parked, retry_after_seconds=_LATEST_SECONDS))
            elif event.first:
                self._parked.park(event)

    def hint(self, hint: Hint) -> None:
        """Another scheduler's tick changed this."""
        if hint.work:
            self._parked.stir()
        for device in sorted(hint.devices):
            self._parked.call(device)
        self._wake.set()

    def _stir(self, events: Sequence[Event], view: View, hint: Hint) -> None:
        """Have parked polls asked again if that may give them work now."""
        self._counters.parked_polls = len(self._parked)
        if not self._parked:
            return
        if hint.work or (self._shared and view.ready and any(isinstance(event, Swept) for event in events)):
            # The second: a hint of another scheduler that was lost costs a sweep's time, and no more.
            self._parked.stir()
        elif not view.ready and any(isinstance(event, Polled) for event in events):
            self._parked.calm()
        for device in sorted(hint.devices):
            self._parked.call(device)

    async def _store_failed(self, events: Sequence[Event], error: StoreError) -> None:
        """Tell everybody but the parked, who go on waiting; then pause."""
        self._counters.store_failures += 1
        log.error("store failed error=%s events=%d pause_seconds=%g", error, len(events), self._pause_seconds)
        remedy = f"On the scheduler: {error.remedy}" if error.remedy else ""
        for event in events:
            if event.ticket not in self._asked:
                failed = f"the scheduler's store failed, and nothing was changed: {error}"
                self._refuse(event, UnavailableError(failed, remedy=remedy))
        if self._asked:
            self._parked.stir()
        if not self._closing:
            await asyncio.sleep(self._pause_seconds)
        self._pause_seconds = min(2 * self._pause_seconds, self._limits.store_pause_longest_seconds)

    async def _isolate(self, events: Sequence[Event], error: Exception) -> None:
        """Find the event on which the rules fail, and settle all others."""
        if len(events) > 1:
            half = len(events) // 2
            await self._settle(events[:half])
            await self._settle(events[half:])
            return
        self._counters.faults += 1
        log.error("rules failed event=%s", type(events[0]).__name__, exc_info=error)
        fault = GridError(
            f"the scheduler failed on this request: a bug in CorpGrid ({type(error).__name__})",
            remedy="The scheduler's log has the traceback; please report it.",
        )
        self._refuse(events[0], error if isinstance(error, CorpGridError) else fault)

    def _refuse(self, event: Event, error: CorpGridError) -> None:
        waiter = self._waiters.get(event.ticket)
        if waiter is not None:
            _turn_away(waiter, error)

    def _drained_in(self) -> float:
        """Seconds that the queue will take, at the pace so far."""
        pace = self._counters.commit_seconds / max(self._counters.events, 1)
        return min(max(len(self._queue) * pace, _SOON_SECONDS), _LATEST_SECONDS)

    def _wait_over(self, waiter: _Waiter) -> None:
        """A poll waits no longer: parked, it is answered now; under way, when its tick is through."""
        waiter.over = True
        event = waiter.event
        parked = event.ticket in self._parked and event.ticket not in self._asked
        if isinstance(event, Polled) and parked and not waiter.answer.done():
            waiter.answer.set_result(_nothing_new(event))


def _nothing_new(poll: Polled) -> PollReply:
    """To a poll whose wait is over: one that wanted no work was told to stop, and still is."""
    return PollReply(should_continue=poll.wanted > 0)


def _turn_away(waiter: _Waiter, error: CorpGridError) -> None:
    if not waiter.answer.done():
        waiter.answer.set_exception(error)


def _share(event: Event) -> float:
    """How full the queue may be for this to be taken still."""
    match event:
        case Submitted():
            return 1.0
        case Polled(batches=batches):
            return 1.0 if batches else 0.5
        case DeviceRegistered():
            return 0.7
        case _:
            return 0.85


def _items(event: Event) -> int:
    """Results that an event brings."""
    return sum(len(batch.items) for batch in event.batches) if isinstance(event, (Polled, Submitted)) else 0


def _step(now: float, wait_seconds: float) -> float:
    """When a wait ends: at a common step before its time, or at its time if there is none between."""
    until = now + wait_seconds
    step = until // _WAIT_STEP_SECONDS * _WAIT_STEP_SECONDS
    return step if step > now else until
