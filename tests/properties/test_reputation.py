"""Reputation: bounds, forgetting, order, replay, and that garbage never pays."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpgrid.domain.reputation import (
    CORRECTNESS_KINDS,
    KINDS,
    Beta,
    Observation,
    OutcomeKind,
    Score,
    Tier,
    decayed,
    lower_bound,
    mean,
    observe,
    replay,
    samples,
    tier,
)

DAY = 86_400.0
times = st.floats(0, 400 * DAY)
observations = st.sampled_from(Score).flatmap(
    lambda score: st.builds(
        Observation,
        score=st.just(score),
        kind=st.sampled_from(sorted(KINDS[score])),
        at=times,
        times=st.integers(0, 50),
    )
)
logs = st.lists(observations, max_size=30)
betas = st.builds(Beta, st.floats(1, 1e6), st.floats(1, 1e6), times)


@given(betas, st.sampled_from(OutcomeKind), times, st.integers(0, 1_000))
def test_scores_stay_within_bounds(beta, kind, now, count):
    seen = observe(beta, kind, now=now, count=count)
    assert seen.alpha >= 1.0
    assert seen.beta >= 1.0
    assert seen.updated_at == max(now, beta.updated_at)
    assert 0.0 < mean(seen) < 1.0
    assert 0.0 <= lower_bound(seen) < mean(seen)
    assert samples(seen) >= 0.0


@given(betas, times, st.integers(1, 100))
def test_good_outcomes_raise_a_score_and_bad_ones_lower_it(beta, now, count):
    before = decayed(beta, now=max(now, beta.updated_at))
    better = observe(before, OutcomeKind.SUCCESS, now=before.updated_at, count=count)
    assert mean(better) > mean(before)
    assert lower_bound(better) > lower_bound(before)
    for kind in set(OutcomeKind) - {OutcomeKind.SUCCESS}:
        worse = observe(before, kind, now=before.updated_at, count=count)
        assert mean(worse) < mean(before)
        assert lower_bound(worse) < lower_bound(before)


@given(betas, st.lists(st.floats(0, 100 * DAY), max_size=5))
def test_forgetting_only_ever_moves_toward_the_prior(beta, waits):
    now = beta.updated_at
    for wait in waits:
        now += wait
        faded = decayed(beta, now=now)
        assert 1.0 <= faded.alpha <= beta.alpha
        assert 1.0 <= faded.beta <= beta.beta
        assert abs(mean(faded) - 0.5) <= abs(mean(beta) - 0.5) + 1e-12
        beta = faded


@given(betas, st.floats(0, 100 * DAY), st.floats(0, 100 * DAY))
def test_forgetting_in_two_steps_is_forgetting_in_one(beta, first, second):
    start = beta.updated_at
    twice = decayed(decayed(beta, now=start + first), now=start + first + second)
    assert twice == pytest.approx(decayed(beta, now=start + first + second), rel=1e-6)


@given(logs, st.randoms(use_true_random=False))
def test_the_order_in_which_outcomes_are_noted_means_nothing(log, random):
    shuffled = random.sample(log, len(log))
    for one, two in zip(replay(log), replay(shuffled), strict=True):
        assert one == pytest.approx(two, rel=1e-6)


@given(logs)
def test_many_at_once_are_as_good_as_one_by_one(log):
    single = [entry._replace(times=1) for entry in log for _ in range(entry.times)]
    for one, two in zip(replay(log), replay(single), strict=True):
        if one.updated_at == two.updated_at:  # an entry of no outcomes still says what time it is
            assert one == pytest.approx(two, rel=1e-6)


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.sampled_from(sorted(CORRECTNESS_KINDS - {"success"})), st.floats(0, 1_000 * DAY)), min_size=1)
)
def test_a_device_whose_every_answer_is_garbage_never_climbs(outcomes):
    """Not by waiting between its lies either: it gets near to where strangers start, and no further."""
    beta, now = Beta(), 0.0
    for kind, wait in outcomes:
        now += wait
        rested = decayed(beta, now=now)
        beta = observe(rested, kind, now=now)
        for moment in (rested, beta):
            assert mean(moment) <= mean(Beta())
            assert lower_bound(moment) <= lower_bound(Beta())
            assert tier(moment) in {Tier.BAD, Tier.UNPROVEN}
        assert tier(beta) is Tier.BAD
