"""Which ticks are worth a write."""

from __future__ import annotations

from corpgrid.domain.effects import Effects

IDLE_SECONDS = 1.0
"""How stale ``last_seen`` may become while nothing happens."""


def worth_writing(effects: Effects, *, now: float, last_tick: float) -> bool:
    """Whether a tick changed anything, or ``last_seen`` has become stale."""
    if not 0 <= now - last_tick < IDLE_SECONDS:
        return True
    return bool(
        effects.new_jobs
        or effects.jobs
        or effects.tasks
        or effects.new_attempts
        or effects.attempts
        or effects.leases
        or effects.devices
        or effects.standings
        or effects.batches
        or effects.finalised
        or effects.cancelled
        or effects.checkpoints
        or effects.audit
        or effects.extend_leases_seconds
    )
