"""Who speaks: an agent's session secret against its device's row.

* A secret is given once, in the reply to RegisterAgent; the row keeps its digest.  A new registration ends the old
  session.
* What was found is kept at hand, and follows the commits of this scheduler, and what it hears of others'.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from corpgrid.domain.device import Device
from corpgrid.domain.ids import DeviceId, Digest
from corpgrid.domain.messages import AgentStatus
from corpgrid.errors import RefusedError
from corpgrid.ports.store import Store
from corpgrid.trust.digest import digest, equal
from corpgrid.trust.keys import PublicKey


class _Session(NamedTuple):
    secret: bytes
    key: PublicKey


class Sessions:
    """The sessions of devices that spoke lately."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[DeviceId, _Session] = {}

    async def check(self, status: AgentStatus) -> PublicKey:
        """The key of the device that sends this status.

        Raises:
            RefusedError: the secret is not that of its present session.
        """
        given = secret_digest(status.session)
        session = self._known.get(status.device)
        if session is None or not equal(session.secret, given):
            session = await self._read(status.device)
        if session is None or not equal(session.secret, given):
            raise RefusedError(f"device {status.device} has no such session here", remedy="Register again.")
        return session.key

    def note(self, devices: Iterable[Device]) -> None:
        """These rows were committed."""
        for device in devices:
            session = self._known.get(device.id)
            if session is not None and session.secret != device.session:
                del self._known[device.id]

    def forget(self, devices: Iterable[DeviceId]) -> None:
        """Another scheduler changed these: they are read again."""
        for device in devices:
            self._known.pop(device, None)

    async def _read(self, device: DeviceId) -> _Session | None:
        row = await self._store.device(device)
        if row is None or not row.session:
            return None
        session = self._known[device] = _Session(row.session, PublicKey.from_raw(row.public_key))
        return session


def secret_digest(secret: str) -> Digest:
    """What a device's row keeps of its session's secret."""
    return digest(secret.encode())
