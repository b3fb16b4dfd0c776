"""Whether a machine may work at this moment, decided from what its probes saw and what its owner wants.

    seen = look(policy, host, memory)
    seen.blockers       # every reason against work; empty: it may work
    seen.next_change    # the answer stays the same until then, unless the host changes
    seen.memory         # give it to the next look, so that what just changed is remembered

Rules:

* Every reason against work is a ``Blocker``: a stable name for programs, one sentence for people, and the moment at
  which it ends by itself where that is known.  No blocker means allowed; there is no other answer.
* Stopping is immediate, starting waits: the owner must have been away for ``idle_seconds_min``, mains power must have
  held for ``mains_settle_seconds``, and a machine that was too warm must cool by ``THERMAL_MARGIN`` more than where it
  stopped.  Otherwise a machine at the edge would start and stop for ever.
* Nothing ever runs on battery: no setting or state overrides it.
* Time is local where hours are meant (``weekday``, ``minute``) and seconds since the epoch elsewhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from corpgrid.domain.device import PowerStatus
from corpgrid.domain.hours import Hours, minute_of_week, moment_text

THERMAL_MARGIN = 0.1


class BlockerName(StrEnum):
    """Why a machine may not work."""

    BATTERY = "battery"
    """It runs on battery."""
    MAINS_SETTLING = "mains_settling"
    """Mains power just came back."""
    OWNER_PRESENT = "owner_present"
    """Somebody used it a moment ago."""
    OUT_OF_HOURS = "out_of_hours"
    """It is not lent at this time of the week."""
    TOO_WARM = "too_warm"
    """It is near the temperature at which it protects itself."""
    PAUSED = "paused"
    """Its owner said so."""


class Blocker(NamedTuple):
    """One reason against work.

    Attributes:
        text: one sentence for people.
        until: when it ends by itself if nothing else changes, seconds since the epoch; None: only an event ends it.
    """

    name: BlockerName
    text: str
    until: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerPolicy:
    """What an owner asks for.

    Attributes:
        mains_settle_seconds: how long mains power must have held after it came back.
        idle_seconds_min: how long nobody may have touched the machine; 0: presence does not matter.
        hours: when the machine is lent.
        thermal_headroom_min: the least headroom, 0 (at its limit) to 1 (cold); 0: heat does not matter.
    """

    mains_settle_seconds: float = 30.0
    idle_seconds_min: float = 300.0
    hours: Hours = field(default_factory=Hours)
    thermal_headroom_min: float = 0.15


@dataclass(frozen=True, slots=True, kw_only=True)
class HostState:
    """What the probes of a machine say at one moment.

    Attributes:
        now: seconds since the epoch.
        idle_seconds: since the last input, or None where nobody can ever sit.
        weekday: local day of the week, 0 is Monday.
        minute: local minute of that day.
        thermal_headroom: 0 (at its limit) to 1 (cold).
        paused_until: its owner paused it until then, seconds since the epoch; 0: not paused; infinity: until resumed.
    """

    now: float
    power: PowerStatus = field(default_factory=PowerStatus)
    idle_seconds: float | None = None
    weekday: int = 0
    minute: int = 0
    thermal_headroom: float = 1.0
    paused_until: float = 0.0


class Memory(NamedTuple):
    """What earlier looks left behind.  A fresh one assumes that nothing changed just now.

    Attributes:
        mains_since: when mains power was first seen after a time without, or None while there is none.
        too_warm: the machine was too warm, and has not cooled by its margin.
    """

    mains_since: float | None = -math.inf
    too_warm: bool = False


class Look(NamedTuple):
    """What one look at a machine found.

    Attributes:
        blockers: every reason against work.
        next_change: when ``blockers`` may next differ if the host stays as it is; None: only an event changes it.
        memory: for the next look.
    """

    blockers: tuple[Blocker, ...]
    next_change: float | None
    memory: Memory

    @property
    def allowed(self) -> bool:
        """Whether the machine may work."""
        return not self.blockers


def look(policy: OwnerPolicy, host: HostState, memory: Memory | None = None) -> Look:
    """Decide, given what the last look remembered (nothing at the first)."""
    remembered = _remember(memory or Memory(), policy, host)
    reasons = (
        _power(policy, host, remembered),
        _owner(policy, host),
        _hours(policy, host),
        _heat(policy, host, remembered),
        _pause(host),
    )
    found = tuple(reason for reason in reasons if reason is not None)
    moments = [reason.until for reason in found] + [_hours_edge(policy, host)]
    return Look(found, min((moment for moment in moments if moment is not None), default=None), remembered)


def allowed_from(reasons: tuple[Blocker, ...]) -> float | None:
    """The earliest moment at which all of these may have ended, or None where one of them waits for an event."""
    latest = -math.inf
    for reason in reasons:
        if reason.until is None:
            return None
        latest = max(latest, reason.until)
    return latest if reasons else None


def _remember(memory: Memory, policy: OwnerPolicy, host: HostState) -> Memory:
    thermal_floor = policy.thermal_headroom_min
    if memory.too_warm and thermal_floor > 0.0:
        thermal_floor += THERMAL_MARGIN
    return Memory(
        mains_since=_mains_since(memory, host),
        too_warm=host.thermal_headroom < min(thermal_floor, 1.0),
    )


def _mains_since(memory: Memory, host: HostState) -> float | None:
    if not host.power.on_ac_power:
        return None
    if memory.mains_since is None:
        return host.now
    return min(memory.mains_since, host.now)  # a clock that stepped back must not make the wait longer


def _power(policy: OwnerPolicy, host: HostState, memory: Memory) -> Blocker | None:
    if not host.power.on_ac_power:
        return Blocker(BlockerName.BATTERY, "it runs on battery, and works only on mains power")
    assert memory.mains_since is not None
    until = memory.mains_since + policy.mains_settle_seconds
    if host.now >= until:
        return None
    held = host.now - memory.mains_since
    text = f"mains power came back {held:.0f} s ago and must hold for {policy.mains_settle_seconds:.0f} s"
    return Blocker(BlockerName.MAINS_SETTLING, text, until)


def _owner(policy: OwnerPolicy, host: HostState) -> Blocker | None:
    if host.idle_seconds is None or host.idle_seconds >= policy.idle_seconds_min:
        return None
    quiet = policy.idle_seconds_min
    text = f"somebody used it {host.idle_seconds:.0f} s ago and its owner asks for {quiet:.0f} s of quiet"
    return Blocker(BlockerName.OWNER_PRESENT, text, host.now + quiet - host.idle_seconds)


def _hours(policy: OwnerPolicy, host: HostState) -> Blocker | None:
    minute = minute_of_week(weekday=host.weekday, minute=host.minute)
    if policy.hours.covers(minute):
        return None
    wait = policy.hours.minutes_to_change(minute)
    if wait is None:
        return Blocker(BlockerName.OUT_OF_HOURS, "its owner lends it at no hour of the week")
    text = f"its owner does not lend it at this hour; it is lent again from {moment_text(minute + wait)}"
    return Blocker(BlockerName.OUT_OF_HOURS, text, _hours_edge(policy, host))


def _hours_edge(policy: OwnerPolicy, host: HostState) -> float | None:
    """When the hours next open or close.  Local minutes begin with minutes of the epoch in every time zone of today."""
    wait = policy.hours.minutes_to_change(minute_of_week(weekday=host.weekday, minute=host.minute))
    return None if wait is None else host.now - host.now % 60 + wait * 60


def _heat(policy: OwnerPolicy, host: HostState, memory: Memory) -> Blocker | None:
    if not memory.too_warm:
        return None
    text = (
        f"it is too warm: {host.thermal_headroom:.0%} of its thermal headroom is left "
        f"and its owner asks for {policy.thermal_headroom_min:.0%}"
    )
    return Blocker(BlockerName.TOO_WARM, text)


def _pause(host: HostState) -> Blocker | None:
    if host.now >= host.paused_until:
        return None
    if math.isinf(host.paused_until):
        return Blocker(BlockerName.PAUSED, "its owner paused it until further notice")
    text = f"its owner paused it for another {math.ceil((host.paused_until - host.now) / 60)} min"
    return Blocker(BlockerName.PAUSED, text, host.paused_until)
