"""What a scheduler counts while it runs: whole numbers and seconds, for people who watch it.

Only the event loop's thread writes here.  A number that can fall (``queue_length``, ``parked_polls``) is what it is
now; all others only rise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass


@dataclass(slots=True)
class Counters:
    """Since the scheduler started."""

    ticks: int = 0
    events: int = 0
    parked_asked: int = 0
    """Parked polls that were put to a tick again."""
    commit_seconds: float = 0.0
    """In ``store.transact``, all ticks together."""
    commit_seconds_last: float = 0.0
    commit_seconds_longest: float = 0.0
    stale_ticks: int = 0
    store_failures: int = 0
    faults: int = 0
    """Events on which the rules failed: bugs."""
    overloads: int = 0
    queue_length: int = 0
    parked_polls: int = 0
    grants: int = 0
    items_verified: int = 0
    batches_refused: int = 0
    results_served: int = 0
    sweeps: int = 0
    blobs_collected: int = 0
    jobs_collected: int = 0
    """Jobs that ended so long ago that only their rows are left, since they were looked at."""
    blob_bytes_in: int = 0
    """Of blobs that came through this scheduler, submissions and results apart."""
    blob_bytes_out: int = 0
    blobs_located: int = 0
    """Times that somebody was sent to the object store instead."""

    def snapshot(self) -> Mapping[str, float]:
        """All numbers by name."""
        return {name: float(value) for name, value in asdict(self).items()}

    def committed(self, seconds: float) -> None:
        """A tick was committed."""
        self.ticks += 1
        self.commit_seconds += seconds
        self.commit_seconds_last = seconds
        self.commit_seconds_longest = max(self.commit_seconds_longest, seconds)
