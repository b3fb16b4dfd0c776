"""What only one of many schedulers does at a time: it asks its store for the lead, and keeps asking.

Rules:
* Who leads runs the reaper, the sealer and the store's upkeep.  Who loses the lead stops them at once; what it has
  under way by then the store leaves out (``View.leads``).
* Who does not lead looks now and then whether polls that wait here may have work: the hint that said so may be lost.
* A store that cannot be asked is no reason to end; one that was migrated beyond this program is.
* The one scheduler of an embedded store always leads.
"""

from __future__ import annotations

import asyncio
import logging

from corpgrid.domain.hints import Hint
from corpgrid.domain.job import JobState
from corpgrid.errors import CorpGridError, MigrationError, StoreError
from corpgrid.ports.store import Store
from corpgrid.scheduler.reaper import Reaper
from corpgrid.scheduler.sealer import Sealer
from corpgrid.scheduler.tick import Tick

log = logging.getLogger(__name__)

LEAD_SECONDS = 1.0
"""How often the lead is asked for; a store gives it to another when it was not for some times as long."""
UPKEEP_SECONDS = 60.0
_ANYTHING = Hint(work=True)


class Duties:
    """One scheduler's part in what only one does.

    Args:
        store: who knows the leader.
        tick: where polls wait.
        reaper: what the leader does.
        sealer: what it seals the ledger with; None leaves it open.
        look_seconds: how often one that does not lead looks for work.
    """

    def __init__(self, store: Store, tick: Tick, reaper: Reaper, sealer: Sealer | None, *, look_seconds: float) -> None:
        self._store = store
        self._tick = tick
        self._reaper = reaper
        self._sealer = sealer
        self._look_seconds = look_seconds
        self._term: asyncio.Task[object] | None = None

    async def run(self) -> None:
        """Until it is cancelled.

        Raises:
            MigrationError: this program is too old for its store.
        """
        try:
            await asyncio.gather(self._lead(), self._look())
        finally:
            await self._end_term()

    async def _lead(self) -> None:
        while True:
            if not await self._leads():
                await self._end_term()
            elif self._term is None:
                self._term = asyncio.create_task(self._serve(), name="term")
            elif self._term.done():
                self._term.result()  # only a bug ends it
            await asyncio.sleep(LEAD_SECONDS)

    async def _leads(self) -> bool:
        try:
            return await self._store.lead()
        except MigrationError:
            raise
        except StoreError as error:
            if self._term is not None:
                log.warning("this scheduler leads no more error=%s", error)
            return False

    async def _serve(self) -> None:
        duties = [self._reaper.run(), self._keep_up()]
        if self._sealer is not None:
            duties.append(self._sealer.run(self._store.ledger))
        await asyncio.gather(*duties)

    async def _keep_up(self) -> None:
        while True:
            try:
                await self._store.upkeep()
            except CorpGridError as error:
                log.warning("upkeep failed code=%s error=%s", error.code, error)
            await asyncio.sleep(UPKEEP_SECONDS)

    async def _end_term(self) -> None:
        term, self._term = self._term, None
        if term is not None:
            term.cancel()
            await asyncio.wait([term])

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(self._look_seconds)
            try:
                if self._term is None and await self._store.jobs(states=[JobState.RUNNING], limit=1):
                    self._tick.hint(_ANYTHING)
            except StoreError as error:
                log.debug("could not look for work error=%s", error)
