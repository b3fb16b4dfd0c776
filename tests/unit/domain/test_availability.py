"""When a machine may work: the owner's promises as properties."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from corpgrid.domain.availability import (
    THERMAL_MARGIN,
    Blocker,
    BlockerName,
    HostState,
    Look,
    Memory,
    OwnerPolicy,
    allowed_from,
    look,
)
from corpgrid.domain.device import PowerStatus
from corpgrid.domain.hours import DAY_MINUTES, WEEK_MINUTES, Hours, minute_of_week, parse

NOW = 1_800_000_000.0
ON_MAINS = PowerStatus()
ON_BATTERY = PowerStatus(on_ac_power=False, battery_percent=90.0)


def sixteenths(low: int, high: int) -> st.SearchStrategy[float]:
    """Numbers whose sums with the time of day are exact, so that rounding is not what is tested."""
    return st.integers(low * 16, high * 16).map(lambda number: number / 16)


shares = sixteenths(0, 1)
percents = sixteenths(0, 100)
seconds = sixteenths(0, 7_200)
moments = sixteenths(0, 1_000_000).map(lambda offset: NOW + offset)
schedules = st.sampled_from(
    ["always", "never", "mon-fri 19:00-07:00, sat-sun", "22:00-06:00", "sun 22:00-02:00", "tue 09:30-09:31"]
).map(parse)
powers = st.builds(PowerStatus, on_ac_power=st.booleans(), battery_percent=st.none() | percents)
policies = st.builds(
    OwnerPolicy,
    mains_settle_seconds=seconds,
    idle_seconds_min=seconds,
    hours=schedules,
    thermal_headroom_min=shares,
)
hosts = st.builds(
    HostState,
    now=moments,
    power=powers,
    idle_seconds=st.none() | seconds,
    weekday=st.integers(0, 6),
    minute=st.integers(0, DAY_MINUTES - 1),
    thermal_headroom=shares,
    paused_until=st.one_of(st.just(0.0), st.just(math.inf), moments),
)
memories = st.builds(
    Memory,
    mains_since=st.none() | st.just(-math.inf) | moments,
    too_warm=st.booleans(),
)


def names(seen: Look) -> set[BlockerName]:
    return {blocker.name for blocker in seen.blockers}


def later(host: HostState, wait: float) -> HostState:
    """The same host, left alone for ``wait`` seconds."""
    now = host.now + wait
    minutes = int(now // 60 - host.now // 60)
    day, minute = divmod(
        (minute_of_week(weekday=host.weekday, minute=host.minute) + minutes) % WEEK_MINUTES, DAY_MINUTES
    )
    idle = None if host.idle_seconds is None else host.idle_seconds + wait
    return replace(host, now=now, weekday=day, minute=minute, idle_seconds=idle)


@given(policies, hosts, memories)
def test_nothing_is_ever_allowed_on_battery(policy: OwnerPolicy, host: HostState, memory: Memory) -> None:
    host = replace(host, power=replace(host.power, on_ac_power=False))
    seen = look(policy, host, memory)
    assert not seen.allowed
    assert BlockerName.BATTERY in names(seen)


@given(policies, hosts, memories)
def test_every_blocker_has_one_sentence_and_lies_ahead(policy: OwnerPolicy, host: HostState, memory: Memory) -> None:
    seen = look(policy, host, memory)
    assert len(names(seen)) == len(seen.blockers)
    assert seen.allowed == (not seen.blockers)
    for blocker in seen.blockers:
        assert blocker.text
        assert "\n" not in blocker.text
        assert not blocker.text.endswith(".")
        assert blocker.until is None or blocker.until > host.now


@given(policies, hosts, memories, seconds, shares)
def test_a_host_that_is_quieter_and_cooler_is_never_blocked_by_more(
    policy: OwnerPolicy, host: HostState, memory: Memory, quiet: float, cool: float
) -> None:
    better = replace(
        host,
        idle_seconds=None if host.idle_seconds is None else host.idle_seconds + quiet,
        thermal_headroom=min(host.thermal_headroom + cool, 1.0),
        paused_until=0.0,
    )
    assert names(look(policy, better, memory)) <= names(look(policy, host, memory))


@given(policies, hosts, memories, policies)
def test_an_owner_who_asks_for_more_is_never_blocked_by_less(
    policy: OwnerPolicy, host: HostState, memory: Memory, more: OwnerPolicy
) -> None:
    stricter = replace(
        policy,
        idle_seconds_min=policy.idle_seconds_min + more.idle_seconds_min,
        mains_settle_seconds=policy.mains_settle_seconds + more.mains_settle_seconds,
        thermal_headroom_min=max(policy.thermal_headroom_min, more.thermal_headroom_min),
    )
    assert names(look(policy, host, memory)) <= names(look(stricter, host, memory))


@given(policies, hosts, memories)
def test_looking_again_at_the_same_moment_changes_nothing(policy: OwnerPolicy, host: HostState, memory: Memory) -> None:
    seen = look(policy, host, memory)
    assert look(policy, host, seen.memory) == seen


@given(policies, hosts, memories, sixteenths(0, 1))
def test_the_answer_stays_until_the_next_change(
    policy: OwnerPolicy, host: HostState, memory: Memory, part: float
) -> None:
    seen = look(policy, host, memory)
    wait = 8 * 86_400.0 if seen.next_change is None else seen.next_change - host.now
    assume(part < 1)
    assert names(look(policy, later(host, part * wait), seen.memory)) == names(seen)


@given(policies, hosts, memories)
def test_a_blocker_is_gone_when_it_said_it_would_be(policy: OwnerPolicy, host: HostState, memory: Memory) -> None:
    seen = look(policy, host, memory)
    for blocker in seen.blockers:
        if blocker.until is not None:
            then = look(policy, later(host, blocker.until - host.now), seen.memory)
            assert blocker.name not in names(then)


@given(policies, hosts)
def test_a_server_is_never_blocked_by_presence_nor_is_anybody_who_does_not_care(
    policy: OwnerPolicy, host: HostState
) -> None:
    assert BlockerName.OWNER_PRESENT not in names(look(policy, replace(host, idle_seconds=None)))
    assert BlockerName.OWNER_PRESENT not in names(look(replace(policy, idle_seconds_min=0.0), host))


def test_the_owner_coming_back_stops_work_at_once_and_leaving_waits() -> None:
    policy = OwnerPolicy(idle_seconds_min=300.0)
    assert look(policy, HostState(now=NOW, idle_seconds=300.0)).allowed
    seen = look(policy, HostState(now=NOW, idle_seconds=40.0))
    assert names(seen) == {BlockerName.OWNER_PRESENT}
    assert seen.next_change == NOW + 260.0


def test_mains_power_must_hold_after_it_came_back() -> None:
    policy = OwnerPolicy(mains_settle_seconds=30.0)
    unplugged = look(policy, HostState(now=NOW, power=ON_BATTERY))
    assert names(unplugged) == {BlockerName.BATTERY}
    assert unplugged.next_change is None
    back = look(policy, HostState(now=NOW + 100.0, power=ON_MAINS), unplugged.memory)
    assert names(back) == {BlockerName.MAINS_SETTLING}
    assert back.next_change == NOW + 130.0
    flicker = look(policy, HostState(now=NOW + 110.0, power=ON_BATTERY), back.memory)
    again = look(policy, HostState(now=NOW + 120.0, power=ON_MAINS), flicker.memory)
    assert again.next_change == NOW + 150.0
    assert look(policy, HostState(now=NOW + 150.0, power=ON_MAINS), again.memory).allowed


def test_a_clock_that_steps_back_does_not_make_the_wait_longer() -> None:
    policy = OwnerPolicy(mains_settle_seconds=30.0)
    back = look(policy, HostState(now=NOW), Memory(mains_since=NOW + 86_400.0))
    assert back.next_change == NOW + 30.0


def test_a_machine_that_was_too_warm_must_cool_by_the_margin() -> None:
    policy = OwnerPolicy(thermal_headroom_min=0.2)
    memory = None
    allowed = []
    for headroom in (0.25, 0.19, 0.25, 0.2 + THERMAL_MARGIN, 0.25):
        seen = look(policy, HostState(now=NOW, thermal_headroom=headroom), memory)
        memory = seen.memory
        allowed.append(seen.allowed)
    assert allowed == [True, False, False, True, True]


@given(shares)
def test_heat_never_matters_to_an_owner_who_asks_for_none(headroom: float) -> None:
    policy = OwnerPolicy(thermal_headroom_min=0.0)
    assert look(policy, HostState(now=NOW, thermal_headroom=headroom), Memory(too_warm=True)).allowed


def test_out_of_hours_says_when_the_machine_is_lent_again() -> None:
    policy = OwnerPolicy(hours=parse("mon-fri 19:00-07:00"))
    now = NOW - NOW % 60 + 42.0
    seen = look(policy, HostState(now=now, weekday=1, minute=18 * 60 + 30))
    (blocker,) = seen.blockers
    assert blocker.name is BlockerName.OUT_OF_HOURS
    assert blocker.text.endswith("from tue 19:00")
    assert blocker.until == now - 42.0 + 30 * 60
    assert seen.next_change == blocker.until


def test_an_allowed_machine_knows_when_its_hours_end() -> None:
    policy = OwnerPolicy(hours=parse("mon 08:00-09:00"))
    now = NOW - NOW % 60
    seen = look(policy, HostState(now=now, weekday=0, minute=8 * 60 + 15))
    assert seen.allowed
    assert seen.next_change == now + 45 * 60


def test_hours_that_never_come_end_by_no_clock() -> None:
    seen = look(OwnerPolicy(hours=Hours(())), HostState(now=NOW))
    assert names(seen) == {BlockerName.OUT_OF_HOURS}
    assert seen.next_change is None


@pytest.mark.parametrize(("until", "ends"), [(NOW + 90.0, NOW + 90.0), (math.inf, None)])
def test_a_pause_lasts_until_its_end_or_until_further_notice(until: float, ends: float | None) -> None:
    seen = look(OwnerPolicy(), HostState(now=NOW, paused_until=until))
    assert names(seen) == {BlockerName.PAUSED}
    assert seen.next_change == ends


def test_all_reasons_are_named_together_and_the_latest_end_counts() -> None:
    policy = OwnerPolicy(hours=parse("mon 00:00-00:10"), thermal_headroom_min=0.5)
    host = HostState(
        now=NOW, power=ON_BATTERY, idle_seconds=1.0, weekday=3, thermal_headroom=0.1, paused_until=NOW + 60.0
    )
    seen = look(policy, host)
    assert names(seen) == {
        BlockerName.BATTERY,
        BlockerName.OWNER_PRESENT,
        BlockerName.OUT_OF_HOURS,
        BlockerName.TOO_WARM,
        BlockerName.PAUSED,
    }
    assert allowed_from(seen.blockers) is None
    timed = tuple(blocker for blocker in seen.blockers if blocker.until is not None)
    assert allowed_from(timed) == max(blocker.until or 0.0 for blocker in timed)
    assert allowed_from(()) is None


def test_names_travel_as_plain_text() -> None:
    blocker = Blocker(BlockerName.OWNER_PRESENT, "somebody is there")
    assert f"{blocker.name}" == "owner_present"
