"""Reputation: what a device's past says of its next answer.

A score is a Beta: weighted counts of good and bad outcomes over a prior of one each, which fade back to the prior with
a half life, so that a repaired machine can recover and an old fame does not last for ever.  Rules:

* Every device has two scores.  **Correctness** moves only when an answer was verified; **availability** when a device
  did or did not bring what it had leased.  A closed lid is not a lie.
* A bad outcome weighs more than a good one (specification, section 9).
* A score depends on the outcomes and their times alone, not on the order in which they were noted: an outcome that
  comes late has already faded by as much as its time is past.  So a score can be replayed from the log of outcomes.
* A device whose every answer is wrong never climbs above where it started, however long one waits.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import NamedTuple

DECAY_HALF_LIFE_SECONDS = 30 * 86_400.0
UNPROVEN_SAMPLES = 5.0
EXCELLENT_SAMPLES = 10.0
STRICT_WALL_FACTOR = 0.75


class Beta(NamedTuple):
    """Weighted counts of good and bad outcomes over a prior of one each."""

    alpha: float = 1.0
    beta: float = 1.0
    updated_at: float = 0.0


class OutcomeKind(StrEnum):
    """What became of a piece of work."""

    SUCCESS = "success"
    """Correctness: verified by somebody else.  Availability: brought in time."""
    TIMEOUT = "timeout"
    MISMATCH = "mismatch"
    """The answer was proven wrong."""
    HEARTBEAT_LOSS = "heartbeat_loss"
    """Its lease ran out."""
    CHECKSUM = "checksum"
    """Bytes were not the bytes that it had signed for."""
    CRASH = "crash"


WEIGHTS: Mapping[OutcomeKind, float] = {
    OutcomeKind.SUCCESS: 1.0,
    OutcomeKind.TIMEOUT: 2.0,
    OutcomeKind.MISMATCH: 3.0,
    OutcomeKind.HEARTBEAT_LOSS: 1.5,
    OutcomeKind.CHECKSUM: 5.0,
    OutcomeKind.CRASH: 2.5,
}
CORRECTNESS_KINDS = frozenset({OutcomeKind.SUCCESS, OutcomeKind.MISMATCH, OutcomeKind.CHECKSUM})
AVAILABILITY_KINDS = frozenset(
    {OutcomeKind.SUCCESS, OutcomeKind.TIMEOUT, OutcomeKind.HEARTBEAT_LOSS, OutcomeKind.CRASH}
)


class Score(StrEnum):
    """Which of a device's two scores."""

    CORRECTNESS = "correctness"
    AVAILABILITY = "availability"


KINDS: Mapping[Score, frozenset[OutcomeKind]] = {
    Score.CORRECTNESS: CORRECTNESS_KINDS,
    Score.AVAILABILITY: AVAILABILITY_KINDS,
}


class Tier(StrEnum):
    """How far a score is trusted (specification, section 9)."""

    EXCELLENT = "excellent"
    """At least 95 % good, and at least ten samples to say so."""
    GOOD = "good"
    """At least 85 %."""
    FAIR = "fair"
    """At least 70 %."""
    POOR = "poor"
    """At least 50 %."""
    BAD = "bad"
    UNPROVEN = "unproven"
    """Not bad, but too few samples to say more."""


_EXTRA_COPIES: Mapping[Tier, int] = {
    Tier.EXCELLENT: -1,
    Tier.GOOD: 0,
    Tier.FAIR: 1,
    Tier.POOR: 2,
    Tier.BAD: 2,
    Tier.UNPROVEN: 2,
}


class Observation(NamedTuple):
    """A line of the log of outcomes: so many equal outcomes of one device at one moment."""

    score: Score
    kind: OutcomeKind
    at: float
    times: int = 1


def observe(
    beta: Beta,
    kind: OutcomeKind,
    *,
    now: float,
    count: int = 1,
    decay_half_life_seconds: float = DECAY_HALF_LIFE_SECONDS,
) -> Beta:
    """The score after ``count`` outcomes of a kind at ``now``, which may lie before the newest that was noted."""
    assert count >= 0, count
    latest = max(now, beta.updated_at)
    faded = decayed(beta, now=latest, decay_half_life_seconds=decay_half_life_seconds)
    weight = count * WEIGHTS[kind] * _fade(latest - now, decay_half_life_seconds)
    if kind is OutcomeKind.SUCCESS:
        return faded._replace(alpha=faded.alpha + weight)
    return faded._replace(beta=faded.beta + weight)


def decayed(beta: Beta, *, now: float, decay_half_life_seconds: float = DECAY_HALF_LIFE_SECONDS) -> Beta:
    """The score as it has faded by ``now``; a time before its last change leaves it alone."""
    if now <= beta.updated_at:
        return beta
    fade = _fade(now - beta.updated_at, decay_half_life_seconds)
    return Beta(1.0 + (beta.alpha - 1.0) * fade, 1.0 + (beta.beta - 1.0) * fade, now)


def _fade(seconds: float, half_life_seconds: float) -> float:
    return math.exp2(-seconds / half_life_seconds)


def mean(beta: Beta) -> float:
    """The expected share of good outcomes, between 0 and 1."""
    return beta.alpha / (beta.alpha + beta.beta)


def samples(beta: Beta) -> float:
    """How much was seen: the weighted count of outcomes beyond the prior, as far as it has not faded."""
    return beta.alpha + beta.beta - 2.0


def lower_bound(beta: Beta, z: float = 1.96) -> float:
    """The Wilson score: the share of good outcomes is at least this, with the confidence of ``z`` standard deviations.

    The prior counts as two outcomes, so that a device of which nothing is known has a bound too, and a low one.
    """
    # Only + - * / and square roots, in this order: the columns of placement compute the same bits.
    count = beta.alpha + beta.beta
    share = beta.alpha / count
    square = z * z
    spread = math.sqrt((share * (1.0 - share) + square / (4.0 * count)) / count)
    return (share + square / (2.0 * count) - z * spread) / (1.0 + square / count)


def tier(beta: Beta) -> Tier:
    """The tier of a score."""
    share, seen = mean(beta), samples(beta)
    if share < 0.50:
        return Tier.BAD
    if seen < UNPROVEN_SAMPLES:
        return Tier.UNPROVEN
    if share >= 0.95 and seen >= EXCELLENT_SAMPLES:
        return Tier.EXCELLENT
    if share >= 0.85:
        return Tier.GOOD
    return Tier.FAIR if share >= 0.70 else Tier.POOR


def copies(tier: Tier, base: int) -> int:
    """How many copies a task gets whose first answer came from this tier, where ``base`` is the job's own number."""
    return max(1, base + _EXTRA_COPIES[tier])


def wall_factor(tier: Tier) -> float:
    """The share of a task's time that a device gets: devices that are bad or unproven must not hold a task for long."""
    return STRICT_WALL_FACTOR if tier in {Tier.BAD, Tier.UNPROVEN} else 1.0


def replay(
    log: Iterable[Observation], *, decay_half_life_seconds: float = DECAY_HALF_LIFE_SECONDS
) -> tuple[Beta, Beta]:
    """Both scores of a device, correctness first, from nothing but the log of its outcomes."""
    scores = {Score.CORRECTNESS: Beta(), Score.AVAILABILITY: Beta()}
    for score, kind, at, times in log:
        assert kind in KINDS[score], (score, kind)
        scores[score] = observe(
            scores[score], kind, now=at, count=times, decay_half_life_seconds=decay_half_life_seconds
        )
    return scores[Score.CORRECTNESS], scores[Score.AVAILABILITY]
