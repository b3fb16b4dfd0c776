"""Leases: who may work on an attempt, and until when.

* A lease lasts ``heartbeat x (grace + 1)`` beyond its last heartbeat (specification, section 7): its device may miss
  ``grace`` heartbeats in a row and still hold it.
* A lease ends when it is *swept*, not when its time passes: until a tick has ended its attempts nobody else can have
  them, so a heartbeat that comes a moment late still renews it.
* Renewing and extending never shorten.
* While no scheduler ticks nobody can renew.  Such an *outage* of the whole grid is nobody's fault: the first tick after
  it extends every lease by it.  A scheduler that was away while others ticked has missed nothing.
* Epochs rise strictly over the whole grid and are the fencing token: a result counts only while its attempt is live,
  and only from the device and under the epoch that the attempt was given to.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

from corpgrid.domain.attempt import LIVE, Attempt, Lease
from corpgrid.domain.ids import DeviceId, Epoch

OUTAGE_LONGEST_SECONDS = 86_400.0
"""A longer one is taken for a clock that was set: what held a lease so long ago is not waited for."""
RETRY_BASE_SECONDS = 0.5
RETRY_CAP_SECONDS = 60.0
_DOUBLINGS_MAX = 32


def ttl_seconds(heartbeat_seconds: float, grace_missed: int) -> float:
    """How long a lease lasts beyond its last heartbeat."""
    assert heartbeat_seconds > 0.0, heartbeat_seconds
    assert grace_missed >= 0, grace_missed
    return heartbeat_seconds * (grace_missed + 1)


def epochs(first: int) -> Iterator[Epoch]:
    """Epochs from ``first`` on, strictly rising."""
    return map(Epoch, count(first))


def renew(lease: Lease, *, now: float, ttl_seconds: float) -> Lease:
    """The lease after a heartbeat."""
    return lease._replace(until=max(lease.until, now + ttl_seconds))


def outage_seconds(*, now: float, last_tick: float, allowed_seconds: float) -> float:
    """How long the grid was out when a tick begins now; 0 if it was not.

    Args:
        now: the time of this tick.
        last_tick: when any scheduler's tick was last committed; 0 in a new store.
        allowed_seconds: a gap between ticks that is no outage.
    """
    gap_seconds = now - last_tick
    if last_tick <= 0.0 or gap_seconds <= allowed_seconds:
        return 0.0
    return min(gap_seconds, OUTAGE_LONGEST_SECONDS)


def extend(lease: Lease, outage_seconds: float) -> Lease:
    """The lease after a time in which nobody could have taken a heartbeat."""
    assert outage_seconds >= 0.0, outage_seconds
    return lease._replace(until=lease.until + outage_seconds)


def expired(lease: Lease, now: float) -> bool:
    """Whether its time is over, so that the next sweep ends it."""
    return lease.until <= now


def accepts(attempt: Attempt, *, device: DeviceId, epoch: Epoch) -> bool:
    """Whether what this device brings under this epoch counts for the attempt."""
    return attempt.state in LIVE and attempt.device == device and attempt.epoch == epoch


def retry_delay_seconds(failures: int) -> float:
    """How long a task rests after it failed so often: doubling, up to a cap; the first try waits for nothing."""
    if failures <= 0:
        return 0.0
    return min(RETRY_CAP_SECONDS, RETRY_BASE_SECONDS * 2.0 ** min(failures - 1, _DOUBLINGS_MAX))
