"""Who of many schedulers does what only one should do: a lock in the database, and an epoch for those who write.

* The lead is an advisory lock of a session of its own.  It goes with that session: at once when its scheduler dies,
  and after ``SILENT_SECONDS`` when it stands still, for then the server ends the session.
* Who takes the lead raises its epoch in the row ``lead``.  Who writes as the leader finds its own epoch there, and
  locks the row, in the same transaction (``fence``): what slept meanwhile writes nothing.
* One that is refused is told so; whether it goes on with something else is its affair.
"""

from __future__ import annotations

import asyncio
import logging

from corpgrid.errors import StaleError
from corpgrid.stores.postgres.database import Address, Session
from corpgrid.stores.postgres.driver import translated
from corpgrid.stores.postgres.schema import require_welcome

log = logging.getLogger(__name__)

SILENT_SECONDS = 5.0
"""A leader that is not heard of for so long is one no more."""
_ANSWER_SECONDS = 4.0
_NEVER = 0


class Lead:
    """One store's part in it.

    Args:
        address: of the database.
        instance: names this store among those that share the database.
    """

    def __init__(self, address: Address, *, instance: str) -> None:
        self._address = address
        self._instance = instance
        self._session: Session | None = None
        self._asking = asyncio.Lock()
        self._held = False
        self._epoch = _NEVER

    async def keep(self) -> bool:
        """``Store.lead``."""
        async with self._asking:
            return await self._keep()

    async def fence(self, session: Session) -> bool:
        """In the transaction of this session: whether nobody took the lead from this store; nobody does before its end.

        A store that never had the lead is not asked: it does nothing as the leader.
        """
        return self._epoch == _NEVER or bool(await session.rows("hold_lead", self._epoch, self._instance))

    async def require(self, session: Session) -> None:
        """The same.

        Raises:
            StaleError: somebody took it.
        """
        if not await self.fence(session):
            raise StaleError("another scheduler leads now", remedy="Nothing is amiss: it goes on with this.")

    async def close(self) -> None:
        """Let another have it."""
        self._let_go()

    async def _keep(self) -> bool:
        held, self._held = self._held, False
        try:
            with translated(self._address.place):
                async with asyncio.timeout(_ANSWER_SECONDS):
                    session = await self._connected()
                    self._held = await (self._confirmed(session) if held else self._taken(session))
                    (oldest_program,) = await session.row("oldest_program")
            require_welcome(self._address.place, oldest_program)
        except BaseException:
            self._let_go()
            raise
        return self._held

    async def _connected(self) -> Session:
        if self._session is None:
            connection = await self._address.connect()
            self._session = Session(connection, self._address.place)
            await connection.execute(f"SET idle_session_timeout = '{int(SILENT_SECONDS * 1_000)}ms'")
        return self._session

    async def _taken(self, session: Session) -> bool:
        (free,) = await session.row("take_lead")
        if free:
            (self._epoch,) = await session.row("begin_term", self._instance)
            log.info("this scheduler leads epoch=%d", self._epoch)
        return bool(free)

    async def _confirmed(self, session: Session) -> bool:
        """The lock is there as long as the session is; somebody may have written an epoch by hand."""
        if not await session.rows("confirm_lead", self._epoch, self._instance):
            raise StaleError("another scheduler leads now")
        return True

    def _let_go(self) -> None:
        session, self._session = self._session, None
        self._held = False
        if session is not None:
            session.connection.terminate()
