"""What no mode may ever do, whoever lies: driven through ``judge`` alone, one task at a time."""

from __future__ import annotations

import random
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpgrid.domain.attempt import Attempt, AttemptState
from corpgrid.domain.ids import DeviceId, Digest, Epoch, JobId, OwnerId, SiteId
from corpgrid.domain.job import Limits, Purpose, VerifyMode, VerifyPolicy
from corpgrid.domain.reputation import Tier
from corpgrid.domain.verification import (
    PROBATION_TASKS,
    RATE_FLOOR,
    Circumstances,
    Verdict,
    audit_coin,
    audit_rate,
    error_bound,
    initial_copies,
    judge,
    unchecked,
)

TRUTH = b"truth"
JOB = JobId("job_test")


class Player(NamedTuple):
    """A device that is ``honest``, a ``liar`` (its own wrong answer), a ``colluder`` (a shared one) or ``broken``."""

    name: str
    kind: str
    trusted: bool = False

    def answer(self) -> bytes:
        return {"honest": TRUTH, "colluder": b"agreed lie"}.get(self.kind, f"lie of {self.name}".encode())


class Outcome(NamedTuple):
    verdict: Verdict
    attempts: list[Attempt]
    losers: set[str]
    executions: int


def play(policy: VerifyPolicy, players: list[Player], *, audit_due: bool, rng: random.Random) -> Outcome:
    """Run one task to its end, or until nobody is left who may take a copy."""
    by_name = {player.name: player for player in players}
    given_ = Circumstances(
        same=lambda one, two: one.digest == two.digest,
        trusted=lambda device: by_name[device].trusted,
        tier=lambda _: Tier.GOOD,
        audit_due=lambda _: audit_due,
        alone=lambda attempt: len(players) == 1,
    )
    attempts: list[Attempt] = []
    losers: set[str] = set()
    open_copies, purpose = initial_copies(policy), Purpose.PRIMARY
    verdict = Verdict()
    while open_copies:
        free = [player for player in players if may_take(player, attempts, by_name, purpose)]
        if not free:
            break
        player = rng.choice(free)
        open_copies -= 1
        failed = player.kind == "broken"
        attempts.append(
            Attempt(
                job=JOB,
                index=0,
                number=len(attempts),
                device=DeviceId(player.name),
                owner=OwnerId(player.name),
                site=SiteId("s"),
                purpose=purpose,
                epoch=Epoch(len(attempts) + 1),
                state=AttemptState.CRASHED if failed else AttemptState.RETURNED,
                digest=Digest(b"" if failed else player.answer()),
                reason="raised" if failed else "",
            )
        )
        verdict = judge(policy, Limits(), attempts, copies_out=open_copies, given=given_)
        for number in verdict.losers:
            losers.add(attempts[number].device)
        if verdict.final or verdict.failed:
            break
        if verdict.accepted >= 0:
            attempts[verdict.accepted] = attempts[verdict.accepted]._replace(state=AttemptState.ACCEPTED)
        if verdict.want:
            purpose = verdict.purpose
        open_copies += verdict.want
    return Outcome(verdict, attempts, losers, len(attempts))


def may_take(player: Player, attempts: list[Attempt], by_name: dict[str, Player], purpose: Purpose) -> bool:
    """Placement's rule: no owner twice, but a trusted device may repeat a disputed task."""
    mine = [attempt for attempt in attempts if attempt.device == player.name]
    disputed_by_trusted = any(
        by_name[attempt.device].trusted and attempt.state is not AttemptState.CRASHED for attempt in attempts
    )
    if purpose is Purpose.ARBITER and disputed_by_trusted:
        return player.trusted
    if any(attempt.state is AttemptState.CRASHED for attempt in mine):
        return len(mine) < 2
    return not mine


def wrong(outcome: Outcome) -> bool:
    verdict = outcome.verdict
    return verdict.final and outcome.attempts[verdict.accepted].digest != TRUTH


kinds = st.sampled_from(["honest", "liar", "broken"])
modes = st.sampled_from([VerifyMode.AUDIT, VerifyMode.QUORUM, VerifyMode.TIERS])


@given(st.lists(kinds, min_size=1, max_size=9), modes, st.integers(0, 2**32), st.booleans())
@settings(max_examples=400, deadline=None)
def test_lone_liars_never_win_where_results_are_compared(names, mode, seed, has_trusted):
    players = [Player(f"p{place}", kind) for place, kind in enumerate(names)]
    if has_trusted:
        players.append(Player("trusted", "honest", trusted=True))
    outcome = play(VerifyPolicy(mode=mode), players, audit_due=True, rng=random.Random(seed))
    if len(players) > 1 or players[0].trusted:
        assert not wrong(outcome)


@given(st.lists(kinds, min_size=1, max_size=9), modes, st.integers(0, 2**32))
@settings(max_examples=400, deadline=None)
def test_an_honest_device_is_never_found_guilty_while_liars_do_not_collude(names, mode, seed):
    players = [Player(f"p{place}", kind) for place, kind in enumerate(names)]
    outcome = play(VerifyPolicy(mode=mode), players, audit_due=True, rng=random.Random(seed))
    guilty = {player.name for player in players if player.kind == "honest"} & outcome.losers
    assert not guilty


@given(st.integers(0, 5), st.integers(0, 3), st.integers(0, 2**32))
@settings(max_examples=200, deadline=None)
def test_colluders_never_outvote_a_trusted_device(colluders, honest, seed):
    players = [Player(f"c{place}", "colluder") for place in range(colluders)]
    players += [Player(f"h{place}", "honest") for place in range(honest)]
    players.append(Player("trusted", "honest", trusted=True))
    outcome = play(VerifyPolicy(), players, audit_due=True, rng=random.Random(seed))
    assert "trusted" not in outcome.losers
    took_part = any(attempt.device == "trusted" for attempt in outcome.attempts)
    assert not (wrong(outcome) and took_part)


@given(st.lists(kinds, min_size=1, max_size=9), modes, st.integers(0, 2**32))
@settings(max_examples=200, deadline=None)
def test_attempts_stay_within_max_total(names, mode, seed):
    players = [Player(f"p{place}", kind) for place, kind in enumerate(names)]
    policy = VerifyPolicy(mode=mode, max_total=5)
    outcome = play(policy, players, audit_due=True, rng=random.Random(seed))
    assert outcome.executions <= 5


STRUCK = frozenset({AttemptState.STOPPED})
ENDS = st.sampled_from(
    [
        AttemptState.RETURNED,
        AttemptState.RETURNED,
        AttemptState.CRASHED,
        AttemptState.EXPIRED,
        AttemptState.STOPPED,
        AttemptState.REFUSED,
    ]
)


class Race:
    """One task whose copies are out side by side and end in any order."""

    def __init__(self, policy: VerifyPolicy) -> None:
        self.policy = policy
        self.attempts: list[Attempt] = []
        self.open = initial_copies(policy)
        self.verdict = Verdict()

    @property
    def live(self) -> list[Attempt]:
        return [attempt for attempt in self.attempts if attempt.state is AttemptState.LEASED]

    def hand_out(self) -> None:
        number = len(self.attempts)
        device, owner = DeviceId(f"d{number}"), OwnerId(f"o{number}")
        self.attempts.append(Attempt(JOB, 0, number, device, owner, SiteId("s"), Purpose.PRIMARY, Epoch(number + 1)))
        self.open -= 1

    def end(self, attempt: Attempt, state: AttemptState, answer: bytes) -> None:
        digest = Digest(answer if state is AttemptState.RETURNED else b"")
        self.attempts[attempt.number] = attempt._replace(state=state, digest=digest, reason=state.value)
        out = self.open + len(self.live)
        self.verdict = verdict = judge(self.policy, Limits(), self.attempts, copies_out=out, given=PLAIN)
        if verdict.accepted >= 0:
            accepted = self.attempts[verdict.accepted]
            self.attempts[verdict.accepted] = accepted._replace(state=AttemptState.ACCEPTED)
        self.open += verdict.want

    @property
    def over(self) -> bool:
        return self.verdict.final or bool(self.verdict.failed)


PLAIN = Circumstances(
    same=lambda one, two: one.digest == two.digest,
    trusted=lambda _: False,
    tier=lambda _: Tier.GOOD,
    audit_due=lambda _: True,
    alone=lambda _: False,
)


@given(
    modes,
    st.integers(1, 3),
    st.integers(0, 2),
    st.integers(1, 8),
    st.lists(st.tuples(st.booleans(), st.integers(0, 9), ENDS, st.sampled_from([TRUTH, b"lie"])), max_size=60),
)
@settings(max_examples=500, deadline=None)
def test_copies_that_are_out_count_towards_max_total(mode, copies, more, total, moves):
    """Whatever ends while others are still out: of copies that nobody stopped there are never more than allowed."""
    target = copies + more
    policy = VerifyPolicy(
        mode=mode, min_copies=copies, target_copies=target, max_total=max(total, target), max_error=99
    )
    race = Race(policy)
    for give, which, state, answer in moves:
        if race.over:
            break
        if race.open and (give or not race.live):
            race.hand_out()
        elif race.live:
            race.end(race.live[which % len(race.live)], state, answer)
        tries = sum(attempt.state not in STRUCK for attempt in race.attempts)
        assert tries + race.open * (not race.over) <= policy.max_total
        assert race.over or race.open or race.live or race.verdict.accepted >= 0, "nothing is left that could happen"


def test_a_quorum_at_its_last_copies_waits_for_them():
    """Three copies are out, and two of them differ: the third decides, and only then is it too late."""
    for last, end in ((b"lie", "final"), (b"another", "no_agreement")):
        race = Race(VerifyPolicy(mode=VerifyMode.QUORUM, min_copies=3, target_copies=3, max_total=3))
        for _ in range(3):
            race.hand_out()
        for attempt, answer in zip(race.live, (TRUTH, b"lie"), strict=False):
            race.end(attempt, AttemptState.RETURNED, answer)
            assert not race.over
            assert race.open == 0
        race.end(race.live[0], AttemptState.RETURNED, last)
        assert (race.verdict.failed or "final") == end


@pytest.mark.parametrize("max_error", [0, 1])
def test_the_first_failure_of_a_quorum_that_allows_none_fails_it(max_error):
    race = Race(VerifyPolicy(mode=VerifyMode.QUORUM, max_error=max_error))
    for _ in range(2):
        race.hand_out()
    race.end(race.live[0], AttemptState.RETURNED, TRUTH)
    assert not race.over
    race.end(race.live[0], AttemptState.CRASHED, b"")
    assert race.verdict.failed == AttemptState.CRASHED.value


def test_results_that_differ_are_no_failures():
    race = Race(VerifyPolicy(mode=VerifyMode.QUORUM, max_error=0))
    for answer in (TRUTH, b"lie", TRUTH):
        while race.open:
            race.hand_out()
        race.end(race.live[0], AttemptState.RETURNED, answer)
    assert race.verdict.final


@given(st.permutations(range(4)), st.sampled_from([VerifyMode.AUDIT, VerifyMode.QUORUM]))
def test_the_order_of_replies_does_not_matter(order, mode):
    answers = [TRUTH, b"lie one", b"lie two", TRUTH]
    attempts = [
        Attempt(
            JOB,
            0,
            number,
            DeviceId(f"d{place}"),
            OwnerId(f"o{place}"),
            SiteId("s"),
            Purpose.PRIMARY,
            Epoch(1),
            AttemptState.RETURNED,
            digest=Digest(answers[place]),
        )
        for number, place in enumerate(order)
    ]
    given_ = Circumstances(
        same=lambda one, two: one.digest == two.digest,
        trusted=lambda _: False,
        tier=lambda _: Tier.GOOD,
        audit_due=lambda _: True,
        alone=lambda _: False,
    )
    verdict = judge(VerifyPolicy(mode=mode), Limits(), attempts, copies_out=0, given=given_)
    assert verdict.final
    assert attempts[verdict.accepted].digest == TRUTH
    assert {attempts[number].digest for number in verdict.losers} == {b"lie one", b"lie two"}


def test_a_task_on_which_no_two_agree_fails_and_nobody_is_blamed():
    players = [Player(f"p{place}", "liar") for place in range(20)]
    outcome = play(VerifyPolicy(), players, audit_due=True, rng=random.Random(1))
    assert outcome.verdict.failed == "no_agreement"
    assert not outcome.losers


@pytest.mark.parametrize("mode", [VerifyMode.AUDIT, VerifyMode.NONE, VerifyMode.TIERS])
def test_a_task_that_fails_everywhere_fails_with_its_reason(mode):
    players = [Player(f"p{place}", "broken") for place in range(9)]
    outcome = play(VerifyPolicy(mode=mode), players, audit_due=True, rng=random.Random(1))
    assert outcome.verdict.failed == "raised"
    assert outcome.executions == Limits().max_attempts


def test_a_result_that_only_one_device_can_produce_is_not_believed():
    players = [Player("odd", "liar"), *(Player(f"b{place}", "broken") for place in range(6))]
    for seed in range(30):
        outcome = play(VerifyPolicy(), players, audit_due=True, rng=random.Random(seed))
        assert not wrong(outcome)


def test_a_trusted_device_alone_needs_no_audit():
    outcome = play(VerifyPolicy(), [Player("t", "honest", trusted=True)], audit_due=True, rng=random.Random(1))
    assert outcome.verdict.final
    assert outcome.executions == 1


def test_the_rate_buys_the_wanted_error_and_no_more():
    policy = VerifyPolicy(eps=1e-4)
    rates = [audit_rate(policy, tasks=tasks, devices=10) for tasks in (10, 300, 3_000, 300_000)]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] == 1.0
    assert rates[-1] == RATE_FLOOR
    assert audit_rate(VerifyPolicy(rate=0.3), tasks=5, devices=2) == 0.3
    assert audit_rate(VerifyPolicy(mode=VerifyMode.QUORUM), tasks=5, devices=2) == 0.0


@given(st.floats(0.001, 1.0), st.integers(1, 10**6), st.integers(1, 1000))
def test_the_bound_falls_with_the_rate(rate, tasks, devices):
    bound = error_bound(rate, tasks=tasks, devices=devices)
    assert 0.0 <= bound <= error_bound(rate / 2, tasks=tasks, devices=devices) <= 0.05
    assert error_bound(1.0, tasks=tasks, devices=devices) == 0.0


@given(st.binary(min_size=32, max_size=32), st.floats(0.05, 0.95))
@settings(max_examples=20, deadline=None)
def test_the_coin_is_fair_and_its_own_memory(key, rate):
    draws = [audit_coin(key, JOB, index, 0, rate=rate) for index in range(4_000)]
    assert draws == [audit_coin(key, JOB, index, 0, rate=rate) for index in range(4_000)]
    assert abs(sum(draws) / len(draws) - rate) < 0.05


def test_the_probation_of_the_rules_is_the_one_of_the_formula():
    from corpgrid.domain.rules import GridRules

    assert GridRules(audit_key=b"k", agree=lambda *_: False).probation_tasks == PROBATION_TASKS


@given(st.sampled_from(VerifyMode), st.booleans(), st.booleans())
def test_the_verdict_on_an_unchecked_result_is_the_one_that_judging_it_gives(mode, trusted, alone):
    policy, device = VerifyPolicy(mode=mode), DeviceId("d")
    attempt = Attempt(JOB, 0, 0, device, OwnerId("o"), SiteId("s"), Purpose.PRIMARY, Epoch(1), AttemptState.RETURNED)
    given_ = Circumstances(
        same=lambda *_: False,
        trusted=lambda _: trusted,
        tier=lambda _: Tier.GOOD,
        audit_due=lambda _: False,
        alone=lambda _: alone,
    )
    verdict = unchecked(policy, attempt, given_)
    assert (verdict is None) == (mode in {VerifyMode.QUORUM, VerifyMode.TIERS})
    assert verdict in {None, judge(policy, Limits(), [attempt], copies_out=0, given=given_)}
