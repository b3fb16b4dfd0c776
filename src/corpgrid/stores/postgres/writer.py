"""The writing half of the store on PostgreSQL: one tick at a time, on one connection.

* When the connection is lost in the very commit, the new one is asked what became of it: no tick that was done is ever
  reported undone.
* After a commit others are told where something changed (``hints``).
* A sweep is done by the one that leads: a tick with one looks whether that is still this store (``lead``).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from corpgrid.domain.effects import Effects, Need, View
from corpgrid.domain.hints import hint_of
from corpgrid.errors import StoreError
from corpgrid.ports.host import Clock
from corpgrid.ports.store import Decide
from corpgrid.stores.postgres.commit import commit
from corpgrid.stores.postgres.database import Pool, Session
from corpgrid.stores.postgres.driver import BROKEN, translated
from corpgrid.stores.postgres.hints import Hints
from corpgrid.stores.postgres.lead import Lead
from corpgrid.stores.postgres.load import Known, load
from corpgrid.stores.presence import changes_owners
from corpgrid.stores.settings import StoreSettings
from corpgrid.stores.ticks import worth_writing

_DOUBT_SECONDS = 10.0
_ASK_AGAIN_SECONDS = 0.2


@dataclass(slots=True)
class _Tick:
    """One tick under way.

    Attributes:
        transaction: the number under which the server knows it; 0 before it writes.
        committing: nobody knows any more whether it is undone.
    """

    view: View
    effects: Effects
    transaction: int = 0
    committing: bool = False


class Writer:
    """Ticks.

    Args:
        pool: one connection.
        told: what other schedulers are told.
        lead: which of them does what only one does.
        place: the database, for messages.
        settings: wire format and limits.
        clock: the store's time; None for the database's.
        instance: names this store among those that share the database.
    """

    def __init__(  # noqa: PLR0913 - what a writer stands on, by name
        self,
        pool: Pool,
        told: Hints,
        lead: Lead,
        *,
        place: str,
        settings: StoreSettings,
        clock: Clock | None,
        instance: str,
    ) -> None:
        self._pool = pool
        self._told = told
        self._lead = lead
        self._place = place
        self._settings = settings
        self._clock = clock
        self._instance = instance
        self._known = Known()

    def start(self, *, last_tick: float) -> None:
        """Go on after the last tick of any store."""
        self._known.last_tick = last_tick

    async def transact(self, need: Need, decide: Decide) -> Effects:
        """One tick."""
        with translated(self._place):
            connection = await self._pool.acquire()
        tick = None
        try:
            session = Session(connection, self._place)
            tick = await self._begin(session, need, decide)
            await self._end(session, tick)
        except StoreError as error:
            if tick is None or not tick.committing:
                raise
            await self._pool.release(connection)
            await self._require_committed(tick, error)
        finally:
            await self._pool.release(connection)
        if tick.committing:
            self._keep(tick)
        return tick.effects

    async def _begin(self, session: Session, need: Need, decide: Decide) -> _Tick:
        """Lock, read, decide."""
        now = self._clock.now() if self._clock is not None else None
        try:
            await session.begin()
            leads = not need.sweep or await self._lead.fence(session)
            view, held = await load(session, self._known, need, now=now, settings=self._settings)
            view = view if leads else replace(view, leads=False)
            tick = _Tick(view, await self._decide(decide, view))
            if worth_writing(tick.effects, now=view.now, last_tick=self._known.last_tick):
                tick.transaction = await commit(session, held, tick.effects, view, instance=self._instance)
        except BaseException:
            await session.undo()
            raise
        return tick

    async def _decide(self, decide: Decide, view: View) -> Effects:
        """In the event loop: a thread of its own would wait for the interpreter's lock, and the locks with it."""
        return decide(view)

    async def _end(self, session: Session, tick: _Tick) -> None:
        if not tick.transaction:
            await session.undo()
            return
        tick.committing = True
        await session.commit()

    async def _require_committed(self, tick: _Tick, error: StoreError) -> None:
        """Ask the server what became of a tick that was being committed when the connection was lost.

        Raises:
            StoreError: it was undone, or nobody can tell.
        """
        try:
            async with asyncio.timeout(_DOUBT_SECONDS):
                state = await self._state(tick.transaction)
        except TimeoutError:
            self._known.numbers.forget()
            raise StoreError(
                f"the connection to the store at {self._place} was lost in a commit that may have been made",
                remedy="Nothing is lost: what was not heard of is asked for again.  Is the database server running?",
            ) from error
        if state != "committed":
            raise error

    async def _state(self, transaction: int) -> str:
        while True:
            try:
                async with self._pool.acquire() as connection:
                    state = await Session(connection, self._place).transaction_state(transaction)
            except (StoreError, *BROKEN):
                state = "in progress"
            if state != "in progress":
                return state
            await asyncio.sleep(_ASK_AGAIN_SECONDS)

    def _keep(self, tick: _Tick) -> None:
        """Remember what a committed tick leaves behind."""
        view, effects = tick.view, tick.effects
        self._known.numbers.keep(effects)
        self._known.specs.update((new.job.id, new.spec) for new in effects.new_jobs)
        self._known.ticked(view.now)
        if changes_owners(view.devices, effects.devices):
            self._known.forget_owners()
        self._told.tell(hint_of(view, effects))
