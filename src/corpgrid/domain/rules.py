"""What the operator decides for the whole grid, and what no rule can know by itself: a secret and a codec."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from corpgrid.domain.job import Comparator
from corpgrid.domain.messages import AgentSettings

Agree = Callable[[Comparator, bytes, bytes], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class GridRules:
    """Settings of the rules.

    Attributes:
        audit_key: secret of the audit coin, 32 bytes.
        agree: whether two encoded results are the same under a comparator that looks inside them.
        settings: what agents are told.
        probation_tasks: results of a device for a new bundle that are all audited.
        trusted_audit_share: share of audits that go to trusted devices.
        grant_tasks: tasks in one grant.
        ready_tasks: ready tasks that one tick looks at, beyond what the waiting devices want.
        seen_within_seconds: a device that was not heard of for so long is not there.
        outage_seconds: a gap between ticks, of all schedulers together, by which every lease is extended; it must be
            longer than the time between two sweeps.
        dispute_seconds: how long a disputed task waits for somebody who has no copy of it; then it fails, and its job
            can end.
    """

    audit_key: bytes
    agree: Agree
    settings: AgentSettings = field(default_factory=AgentSettings)
    probation_tasks: int = 10
    trusted_audit_share: float = 0.15
    grant_tasks: int = 512
    ready_tasks: int = 64
    seen_within_seconds: float = 60.0
    outage_seconds: float = 5.0
    dispute_seconds: float = 3600.0
