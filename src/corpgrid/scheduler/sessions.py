"""Who speaks: an agent's session secret against its device's row.

* A secret is given once, in the reply to RegisterAgent; the row keeps its digest.  A new registration ends the old
  session.
* What was found is kept at hand, and follows the commits of this scheduler, and what it hears of others'.  A session
  that begins here is known from its commit on: nobody's first call costs a read.
* That may be late: so each tick looks once more, at the device's row that it holds (``ended``).  A session that ended
  at any scheduler counts at none from that commit on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from corpgrid.domain.device import Device
from corpgrid.domain.effects import View
from corpgrid.domain.events import Checkpointed, Event, Heartbeat, Polled, Submitted
from corpgrid.domain.ids import DeviceId, Digest
from corpgrid.domain.messages import AgentStatus
from corpgrid.errors import RefusedError
from corpgrid.ports.store import Store
from corpgrid.trust.digest import digest, equal
from corpgrid.trust.keys import PublicKey


class _Session:
    """What a device's row says; its key is read when somebody wants it."""

    __slots__ = ("_key", "raw", "secret")

    def __init__(self, row: Device) -> None:
        self.secret = row.session
        self.raw = row.public_key
        self._key: PublicKey | None = None

    @property
    def key(self) -> PublicKey:
        if self._key is None:
            self._key = PublicKey.from_raw(self.raw)
        return self._key


class Sessions:
    """The sessions of devices that spoke lately."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[DeviceId, _Session] = {}

    async def check(self, status: AgentStatus) -> _Session:
        """The session in which a device sends this status.

        Raises:
            RefusedError: the secret is not that of its present session.
        """
        given = secret_digest(status.session)
        session = self._known.get(status.device)
        if session is None or not equal(session.secret, given):
            session = await self._read(status.device)
        if session is None or not equal(session.secret, given):
            raise _no_session(status.device)
        return session

    def ended(self, view: View, events: Sequence[Event]) -> Mapping[int, RefusedError]:
        """What to say, by ticket, to those whose session ended since ``check``; may be called in the store's thread."""
        said = {}
        for event in events:
            status = _status_of(event)
            row = view.devices.get(status.device) if status is not None else None
            if status is not None and row is not None and row.session != secret_digest(status.session):
                self._known.pop(row.id, None)
                said[event.ticket] = _no_session(row.id)
        return said

    def note(self, devices: Iterable[Device]) -> None:
        """These rows were committed."""
        for device in devices:
            session = self._known.get(device.id)
            if (session is None or session.secret != device.session) and device.session:
                self._known[device.id] = _Session(device)
            elif session is not None and not device.session:
                del self._known[device.id]

    def forget(self, devices: Iterable[DeviceId]) -> None:
        """Another scheduler changed these: they are read again."""
        for device in devices:
            self._known.pop(device, None)

    async def _read(self, device: DeviceId) -> _Session | None:
        row = await self._store.device(device)
        if row is None or not row.session:
            return None
        session = self._known[device] = _Session(row)
        return session


def _status_of(event: Event) -> AgentStatus | None:
    """What the device that sent this says of itself."""
    match event:
        case Polled(status=status) | Submitted(status=status) | Heartbeat(status=status):
            return status
        case Checkpointed(request=request):
            return request.status
        case _:
            return None


def _no_session(device: DeviceId) -> RefusedError:
    return RefusedError(f"device {device} has no such session here", remedy="Register again.")


def secret_digest(secret: str) -> Digest:
    """What a device's row keeps of its session's secret."""
    return digest(secret.encode())
