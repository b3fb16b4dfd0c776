"""Placement: columns give the reference's plan, nobody who is refused gets work, and listing order means nothing."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpgrid.domain import placement, placement_arrays
from corpgrid.domain.feasibility import SEEN_WITHIN_SECONDS, refusals
from corpgrid.domain.placement import WEIGHTS, DeviceColumns, Weights, match
from corpgrid.domain.placement_score import Circumstances
from tests.properties.fleets import NOW, fleets, wants

weightings = st.sampled_from([WEIGHTS, Weights(0, 0, 0, 0, 0, 0), Weights(0, 0, 0, 0, 1, 0), Weights(0, 1, 0, 0, 0, 0)])


@pytest.fixture(scope="module")
def plan():
    """Plans made over columns, or one by one, whatever the size of the fleet."""
    with pytest.MonkeyPatch.context() as patch:

        def make(devices, wanted, *, columns, seed=1, weights=WEIGHTS):
            patch.setattr(placement, "SMALL_LOOKS", -1 if columns else 1_000_000)
            made = devices if isinstance(devices, DeviceColumns) else DeviceColumns.of(devices)
            return match(wanted, made, now=NOW, rng=random.Random(seed), weights=weights)

        yield make


def refused(want, device):
    return refusals(
        want.requirements,
        want.verify_mode,
        device,
        now=NOW,
        excluded_owners=want.excluded_owners,
        excluded_devices=want.excluded_devices,
        require_trusted=want.require_trusted,
    )


@settings(max_examples=300)
@given(
    devices=fleets(min_size=3, max_size=30),
    wanted=st.lists(wants, min_size=1, max_size=6),
    seed=st.integers(0, 9),
    weights=weightings,
    spare=st.sampled_from([0, 1, placement_arrays.LIST_SPARE]),
)
def test_columns_plan_as_the_reference_does(plan, *, devices, wanted, seed, weights, spare):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(placement_arrays, "LIST_SPARE", spare)  # short lists come to their end
        over_columns = plan(devices, wanted, columns=True, seed=seed, weights=weights)
    assert over_columns == plan(devices, wanted, columns=False, seed=seed, weights=weights)


@settings(max_examples=200)
@given(devices=fleets(min_size=1), want=wants)
def test_columns_admit_just_those_whom_the_rules_refuse_for_nothing(devices, want):
    want = want._replace(excluded_owners=frozenset(), excluded_devices=frozenset())
    circumstances = Circumstances(NOW, SEEN_WITHIN_SECONDS, WEIGHTS, tie_seed=1)
    columns = DeviceColumns.of(devices).arrays
    admitted = placement_arrays.Board(columns, circumstances, [want]).eligible(want).may & (columns.number["free"] > 0)
    assert admitted.tolist() == [not refused(want, device) for device in devices]


@settings(max_examples=200)
@given(devices=fleets(), wanted=st.lists(wants, max_size=4), columns=st.booleans())
def test_nobody_who_is_refused_gets_work_and_nobody_gets_more_than_fits(plan, devices, wanted, columns):
    by_device, by_want = Counter(), Counter()
    for number, place, count in plan(devices, wanted, columns=columns):
        assert count > 0
        assert not refused(wanted[number], devices[place])
        by_device[place] += count
        by_want[number] += count
    assert all(count <= devices[place].capacity - devices[place].leased for place, count in by_device.items())
    assert all(count <= wanted[number].count for number, count in by_want.items())


@settings(max_examples=100)
@given(devices=fleets(), want=wants, columns=st.booleans())
def test_a_want_goes_short_only_when_all_who_may_are_full(plan, devices, want, columns):
    given_ = sum(count for _, _, count in plan(devices, [want], columns=columns))
    room = sum(device.capacity - device.leased for device in devices if not refused(want, device))
    assert given_ == min(want.count, room)


@settings(max_examples=100)
@given(data=st.data(), devices=fleets(), wanted=st.lists(wants, max_size=3), columns=st.booleans())
def test_the_order_in_which_devices_are_listed_means_nothing(plan, data, devices, wanted, columns):
    plans = [
        [(number, listed[place].id, count) for number, place, count in plan(listed, wanted, columns=columns)]
        for listed in (devices, data.draw(st.permutations(devices)))
    ]
    assert plans[0] == plans[1]


@settings(max_examples=60)
@given(devices=fleets(min_size=2), other=fleets(min_size=1), wanted=st.lists(wants, max_size=3), data=st.data())
def test_columns_that_were_changed_are_like_columns_made_anew(plan, devices, other, wanted, data):
    columns = DeviceColumns.of(devices)
    plan(columns, wanted, columns=True)
    columns.replace(data.draw(st.integers(0, len(devices) - 1)), other[0], free=3)
    anew = DeviceColumns.of(columns.devices, free=columns.free)
    assert plan(columns, wanted, columns=True) == plan(anew, wanted, columns=True)
