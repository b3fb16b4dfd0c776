"""An attempt: one device's try at a task; and the lease that gives it the right.

One **lease** covers all attempts that a device was granted in one reply: they stand and fall together, and a heartbeat
renews one row, not hundreds.  Its **epoch** is the fencing token: a result counts only if the attempt is still live
under the epoch that it names.  The chart of an attempt's states is ``ATTEMPT_MOVES``:

    leased -> running -> (yielded -> running)* -> returned -> accepted | rejected
    leased | running | yielded -> expired | crashed | stopped | refused
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from corpgrid.domain.ids import DeviceId, Digest, Epoch, JobId, OwnerId, SiteId
from corpgrid.domain.job import Purpose


class AttemptState(StrEnum):
    """Where one attempt stands."""

    LEASED = "leased"
    RUNNING = "running"
    YIELDED = "yielded"
    RETURNED = "returned"
    """A result came back, and nothing is known of it yet."""
    ACCEPTED = "accepted"
    """Its result agrees with what was accepted."""
    REJECTED = "rejected"
    """Its result was found wrong, or its device was quarantined before anybody checked."""
    EXPIRED = "expired"
    """Its lease ran out."""
    CRASHED = "crashed"
    """The task raised, hit a limit, or its runner or agent died."""
    STOPPED = "stopped"
    """Handed back unfinished: the owner came first, or the job was cancelled."""
    REFUSED = "refused"
    """The device would not start it: a signature, digest or environment did not hold."""


UNDELIVERED = "undelivered"
"""Why an attempt stopped of which its device knew nothing: the grant was lost on its way, or so the device says."""

_LIVE = {AttemptState.LEASED, AttemptState.RUNNING, AttemptState.YIELDED}
_LOST = {AttemptState.EXPIRED, AttemptState.CRASHED, AttemptState.STOPPED, AttemptState.REFUSED}
ATTEMPT_MOVES: Mapping[AttemptState, frozenset[AttemptState]] = {
    AttemptState.LEASED: frozenset({AttemptState.RUNNING, AttemptState.RETURNED} | _LOST),
    AttemptState.RUNNING: frozenset({AttemptState.YIELDED, AttemptState.RETURNED} | _LOST),
    AttemptState.YIELDED: frozenset({AttemptState.RUNNING, AttemptState.RETURNED} | _LOST),
    AttemptState.RETURNED: frozenset({AttemptState.ACCEPTED, AttemptState.REJECTED}),
    AttemptState.ACCEPTED: frozenset({AttemptState.REJECTED}),
    AttemptState.REJECTED: frozenset(),
    AttemptState.EXPIRED: frozenset(),
    AttemptState.CRASHED: frozenset(),
    AttemptState.STOPPED: frozenset(),
    AttemptState.REFUSED: frozenset(),
}
LIVE = frozenset(_LIVE)


class Attempt(NamedTuple):
    """An attempt's row.

    Attributes:
        number: from 0 within its task.
        batch: the stored signed batch in which its result came, or 0.
        position: its place in that batch.
        digest: of its result, or empty.
        reason: why it ended without a result: a short name such as ``raised``, ``wall_seconds``, ``battery``.
        seconds: run time on the device, as the device reported it.
    """

    job: JobId
    index: int  # type: ignore[assignment]  # a field here, not the method of tuples
    number: int
    device: DeviceId
    owner: OwnerId
    site: SiteId
    purpose: Purpose
    epoch: Epoch
    state: AttemptState = AttemptState.LEASED
    batch: int = 0
    position: int = 0
    digest: Digest = Digest(b"")
    reason: str = ""
    seconds: float = 0.0

    def ended(  # noqa: PLR0913 - the columns of an end, by keyword
        self, state: AttemptState, *, batch: int, position: int, digest: Digest, reason: str, seconds: float
    ) -> Attempt:
        """This attempt with its end; what ``_replace`` would give, three times as fast: it is made for every result."""
        return Attempt._make((*self[:8], state, batch, position, digest, reason, seconds))

    def judged(self, state: AttemptState) -> Attempt:
        """This attempt in another state; as ``ended``, for speed."""
        return Attempt._make((*self[:8], state, *self[9:]))


class Lease(NamedTuple):
    """A lease's row: one grant to one device.

    Attributes:
        until: when it runs out unless renewed, seconds since the epoch.
        remaining: attempts under it that are still live; at 0 the row is deleted.
    """

    epoch: Epoch
    device: DeviceId
    job: JobId
    granted_at: float
    until: float
    remaining: int
