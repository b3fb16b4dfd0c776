"""Reputation by example: tiers, weights and what they cost."""

from __future__ import annotations

import pytest

from corpgrid.domain.reputation import (
    AVAILABILITY_KINDS,
    CORRECTNESS_KINDS,
    DECAY_HALF_LIFE_SECONDS,
    WEIGHTS,
    Beta,
    Observation,
    OutcomeKind,
    Score,
    Tier,
    copies,
    decayed,
    lower_bound,
    mean,
    observe,
    replay,
    samples,
    tier,
    wall_factor,
)


def after(*outcomes):
    beta = Beta()
    for kind, count in outcomes:
        beta = observe(beta, kind, now=0.0, count=count)
    return beta


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ([], Tier.UNPROVEN),
        ([(OutcomeKind.SUCCESS, 4)], Tier.UNPROVEN),
        ([(OutcomeKind.SUCCESS, 5)], Tier.GOOD),
        ([(OutcomeKind.SUCCESS, 17)], Tier.GOOD),
        ([(OutcomeKind.SUCCESS, 18)], Tier.EXCELLENT),
        ([(OutcomeKind.SUCCESS, 18), (OutcomeKind.MISMATCH, 1)], Tier.FAIR),
        ([(OutcomeKind.SUCCESS, 8), (OutcomeKind.MISMATCH, 2)], Tier.POOR),
        ([(OutcomeKind.MISMATCH, 1)], Tier.BAD),
    ],
)
def test_tiers(outcomes, expected):
    assert tier(after(*outcomes)) is expected


def test_tier_edges_are_those_of_the_specification():
    assert tier(Beta(95.0, 5.0)) is Tier.EXCELLENT
    assert tier(Beta(94.9, 5.1)) is Tier.GOOD
    assert tier(Beta(11.4, 0.6)) is Tier.EXCELLENT
    assert tier(Beta(11.3, 0.59)) is Tier.GOOD, "ten samples are not reached"
    assert tier(Beta(85.0, 15.0)) is Tier.GOOD
    assert tier(Beta(84.9, 15.1)) is Tier.FAIR
    assert tier(Beta(70.0, 30.0)) is Tier.FAIR
    assert tier(Beta(69.9, 30.1)) is Tier.POOR
    assert tier(Beta(50.0, 50.0)) is Tier.POOR
    assert tier(Beta(49.9, 50.1)) is Tier.BAD


def test_the_weights_are_those_of_the_specification():
    assert WEIGHTS == {
        "success": 1.0,
        "timeout": 2.0,
        "mismatch": 3.0,
        "heartbeat_loss": 1.5,
        "checksum": 5.0,
        "crash": 2.5,
    }
    assert set(OutcomeKind) == CORRECTNESS_KINDS | AVAILABILITY_KINDS
    assert {OutcomeKind.SUCCESS} == CORRECTNESS_KINDS & AVAILABILITY_KINDS


def test_copies_and_time_follow_the_tier():
    assert {kind: copies(kind, 2) for kind in Tier} == {
        Tier.EXCELLENT: 1,
        Tier.GOOD: 2,
        Tier.FAIR: 3,
        Tier.POOR: 4,
        Tier.BAD: 4,
        Tier.UNPROVEN: 4,
    }
    assert copies(Tier.EXCELLENT, 1) == 1
    assert {kind for kind in Tier if wall_factor(kind) < 1.0} == {Tier.BAD, Tier.UNPROVEN}


def test_half_is_forgotten_after_a_half_life():
    beta = decayed(Beta(11.0, 5.0, 0.0), now=DECAY_HALF_LIFE_SECONDS)
    assert beta == Beta(6.0, 3.0, DECAY_HALF_LIFE_SECONDS)
    assert samples(beta) == 7.0
    assert mean(beta) == pytest.approx(2 / 3)


def test_the_wilson_bound_of_a_known_case():
    assert lower_bound(Beta(8.0, 2.0)) == pytest.approx(0.4902, abs=1e-4)
    assert lower_bound(Beta(8.0, 2.0), z=0.0) == pytest.approx(0.8)
    assert lower_bound(Beta()) < 0.1


def test_scores_replay_from_the_log():
    log = [
        Observation(Score.AVAILABILITY, OutcomeKind.SUCCESS, 10.0, 3),
        Observation(Score.CORRECTNESS, OutcomeKind.MISMATCH, 20.0),
        Observation(Score.AVAILABILITY, OutcomeKind.CRASH, 30.0),
    ]
    correctness, availability = replay(log)
    assert correctness == observe(Beta(), OutcomeKind.MISMATCH, now=20.0)
    assert availability == observe(observe(Beta(), OutcomeKind.SUCCESS, now=10.0, count=3), OutcomeKind.CRASH, now=30.0)
    with pytest.raises(AssertionError):
        replay([Observation(Score.CORRECTNESS, OutcomeKind.CRASH, 0.0)])
