"""A program's connection to a scheduler: asynchronous inside, plain blocking calls outside.

* Whether anybody listens is found out at once: only a connection that was there is tried again when it is lost.
* Every failure is an error of ``corpgrid.errors``, those that the scheduler raised included.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeVar

from corpgrid.config import ClientConfig
from corpgrid.errors import CorpGridError, UnavailableError
from corpgrid.ports.api import GridApi
from corpgrid.sdk.background import BackgroundLoop
from corpgrid.transport.address import Address, parse_all
from corpgrid.transport.grpc_client import connect_grid
from corpgrid.transport.limits import TransportLimits

T = TypeVar("T")
_KNOCK_SECONDS = 2.0


class Connection:
    """Calls of one scheduler.

    Args:
        address: ``unix:PATH`` or ``HOST:PORT``; several with commas between them, where equal schedulers serve a grid.
        config: how long a call may take.
        hopeless: why nobody can answer any more, if that is known.

    Raises:
        UnavailableError: nobody answers there.
        ConfigError: the address is none.
    """

    def __init__(
        self, address: str, config: ClientConfig, *, hopeless: Callable[[], CorpGridError | None] = lambda: None
    ) -> None:
        places = parse_all(address)
        _knock_at_all(places)
        self._hopeless = hopeless
        self._loop = BackgroundLoop()
        try:
            self.api: GridApi = self.call(_open(places, TransportLimits(call_seconds=config.timeout_seconds)))
        except BaseException:
            self._loop.close()
            raise

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run one asynchronous call of ``api`` to its end; an interrupt cancels it."""
        try:
            return self._loop.run(work, hopeless=self._hopeless)
        except UnavailableError as error:
            raise self._hopeless() or error from None

    def start(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Begin an asynchronous call and wait for nothing."""
        return self._loop.start(work)

    def close(self) -> None:
        """Let go; a second call does nothing."""
        self._loop.close(self.api.close)


async def _open(addresses: Sequence[Address], limits: TransportLimits) -> GridApi:
    """A connection that answers, or the error that says why not."""
    api = connect_grid(addresses, limits=limits, rng=random.Random())  # noqa: S311 - pauses between tries
    try:
        await api.info()
    except BaseException:
        await api.close()
        raise
    return api


def _knock_at_all(addresses: Sequence[Address]) -> None:
    """See whether anybody listens anywhere."""
    for address in addresses[:-1]:
        with suppress(UnavailableError):
            return _knock(address)
    return _knock(addresses[-1])


def _knock(address: Address) -> None:
    """See whether anybody listens."""
    try:
        if address.path is not None:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                probe.settimeout(_KNOCK_SECONDS)
                probe.connect(str(address.path))
        else:
            host, _, port = address.target.rpartition(":")
            socket.create_connection((host.strip("[]"), int(port)), timeout=_KNOCK_SECONDS).close()
    except PermissionError:
        raise UnavailableError(
            f"the grid at {address.target} belongs to another user",
            remedy="Ask its user, or start your own: `corpgrid up`.",
        ) from None
    except OSError as error:
        raise UnavailableError(f"no grid listens at {address.target} ({error.strerror or error})") from None
