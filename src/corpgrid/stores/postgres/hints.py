"""What schedulers that share a database tell each other after their commits, by NOTIFY and LISTEN.

* Nobody waits for a hint, on either side: one that is lost is found out by looking, a little later.
* A hint goes out after its commit, with those of the commits meanwhile.
* The connection that listens is made again whenever it is lost; what may have been missed is looked for then.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import Callable, Iterator
from itertools import zip_longest

from corpgrid.domain.hints import Hint
from corpgrid.domain.ids import DeviceId, JobId
from corpgrid.errors import StoreError
from corpgrid.stores.postgres.database import Address, Pool
from corpgrid.stores.postgres.driver import BROKEN, translated

log = logging.getLogger(__name__)

CHANNEL = "corpgrid"
_IDS = 100
"""Of each kind in one payload, which may have 8,000 bytes."""
_AGAIN_SECONDS = 2.0
_NOTHING = Hint()
_ANYTHING = Hint(work=True)
_LOST = (*BROKEN, StoreError)


class Hints:
    """One store's ears and mouth.

    Args:
        address: of the database.
        pool: where a connection is borrowed to tell.
        instance: names this store among those that share the database, so that it does not hear itself.
    """

    def __init__(self, address: Address, pool: Pool, *, instance: str) -> None:
        self._address = address
        self._pool = pool
        self._instance = instance
        self._untold = _NOTHING
        self._telling: asyncio.Task[None] | None = None
        self._listening: asyncio.Task[None] | None = None

    def tell(self, hint: Hint) -> None:
        """Tell what a tick changed, soon."""
        if hint == _NOTHING:
            return
        untold = self._untold
        self._untold = Hint(untold.work or hint.work, untold.ended | hint.ended, untold.devices | hint.devices)
        if self._telling is None:
            self._telling = asyncio.create_task(self._tell())

    def listen(self, heard: Callable[[Hint], None]) -> None:
        """Pass on what others tell, from now on."""
        assert self._listening is None
        self._listening = asyncio.create_task(self._listen(heard))

    async def close(self) -> None:
        """Tell what is left, and hear no more."""
        if self._telling is not None:
            await self._telling
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)

    async def _tell(self) -> None:
        try:
            async with self._pool.acquire() as connection:
                while self._untold != _NOTHING:
                    hint, self._untold = self._untold, _NOTHING
                    payloads = list(encode(hint, instance=self._instance))
                    await connection.executemany("SELECT pg_notify($1, $2)", [(CHANNEL, text) for text in payloads])
        except _LOST:
            self._untold = _NOTHING  # a hint that is lost is no loss
        finally:
            self._telling = None

    async def _listen(self, heard: Callable[[Hint], None]) -> None:
        while True:
            try:
                await self._hear(heard)
            except _LOST as error:
                log.warning("no hints of other schedulers for a moment error=%s", error)
            await asyncio.sleep(random.uniform(0.5, 1.0) * _AGAIN_SECONDS)  # noqa: S311 - so that not all come at once

    async def _hear(self, heard: Callable[[Hint], None]) -> None:
        """Listen until the connection is lost."""
        with translated(self._address.place):
            connection = await self._address.connect()
        lost = asyncio.Event()
        connection.add_termination_listener(lambda _connection: lost.set())
        try:
            await connection.add_listener(CHANNEL, lambda *said: self._pass_on(str(said[-1]), heard))
            heard(_ANYTHING)
            await lost.wait()
        finally:
            connection.terminate()

    def _pass_on(self, payload: str, heard: Callable[[Hint], None]) -> None:
        instance, hint = decode(payload)
        if instance != self._instance:
            heard(hint)


def encode(hint: Hint, *, instance: str) -> Iterator[str]:
    """The payloads that say it."""
    ended, devices = sorted(hint.ended), sorted(hint.devices)
    jobs = [ended[start : start + _IDS] for start in range(0, len(ended), _IDS)]
    others = [devices[start : start + _IDS] for start in range(0, len(devices), _IDS)]
    for some_jobs, some_devices in list(zip_longest(jobs, others)) or [(None, None)]:
        yield json.dumps([instance, hint.work, some_jobs or [], some_devices or []], separators=(",", ":"))


def decode(payload: str) -> tuple[str, Hint]:
    """Who said what; something that cannot be read may mean anything."""
    try:
        instance, work, ended, devices = json.loads(payload)
        return str(instance), Hint(bool(work), frozenset(map(JobId, ended)), frozenset(map(DeviceId, devices)))
    except (ValueError, TypeError):
        return "", _ANYTHING
