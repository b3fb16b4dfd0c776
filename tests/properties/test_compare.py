"""Comparators: reflexive on valid data, symmetric, blind to the order of answers; and no minority is ever canonical."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from corpgrid.domain.compare import canonical, distance, same, value_distance
from corpgrid.domain.job import Comparator, ComparatorKind
from corpgrid.wire import data

comparators = st.one_of(
    st.sampled_from([Comparator(kind=kind) for kind in ComparatorKind]),
    st.builds(
        Comparator,
        kind=st.just(ComparatorKind.FLOAT),
        rtol=st.floats(0, 0.5),
        atol=st.floats(0, 1),
        relative_l2=st.floats(0, 0.5),
    ),
)
arrays = hnp.arrays(
    st.sampled_from(["<f4", "<f8", ">f8", "<f2", "<c16", "<i4", "|b1", "<U3"]), hnp.array_shapes(min_side=0, max_side=3)
)
leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.floats(),
    st.complex_numbers(),
    st.text(alphabet="ab \r\n\u0301", max_size=4),
    st.sampled_from(['{"a": 1}', '{"a": 1.0}', "[NaN]"]),
    st.binary(max_size=3),
    arrays,
)
values = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.text(alphabet="abc", max_size=2), inner, max_size=3),
    ),
    max_leaves=6,
)


def same_values(comparator, one, two):
    return value_distance(comparator, one, two) < float("inf")


@settings(max_examples=200)
@given(comparators, values)
def test_a_valid_result_is_the_same_as_itself(comparator, value):
    encoded = data.encode(value)
    assert same(comparator, encoded, encoded, decode=data.decode)
    if comparator.kind is not ComparatorKind.BYTES:
        # Not for its bytes alone: read twice, and compared in earnest.
        assert value_distance(comparator, data.decode(encoded), data.decode(encoded)) == 0.0


@settings(max_examples=200)
@given(comparators, values, values)
def test_distance_is_symmetric(comparator, one, two):
    first, second = data.encode(one), data.encode(two)
    there = distance(comparator, first, second, decode=data.decode)
    assert there == distance(comparator, second, first, decode=data.decode)
    assert there >= 0.0


@settings(max_examples=100)
@given(values, values)
def test_what_is_the_same_to_the_byte_or_by_structure_is_the_same_to_the_more_lenient(one, two):
    exact = Comparator(kind=ComparatorKind.FLOAT, rtol=0.0, atol=0.0, relative_l2=0.0)
    if same_values(exact, one, two):
        assert same_values(Comparator(kind=ComparatorKind.FLOAT), one, two)


def _not_tiny(number):
    """Below this a float has too few digits left to differ a little."""
    return number == 0.0 or abs(number) > 1e-290


@settings(max_examples=100)
@given(
    hnp.arrays(np.float64, st.integers(1, 50), elements=st.floats(-1e6, 1e6).filter(_not_tiny)),
    st.floats(1e-9, 0.1),
    st.randoms(use_true_random=False),
)
def test_floats_within_tolerance_are_the_same_and_one_beyond_it_is_not(array, tolerance, random):
    comparator = Comparator(kind=ComparatorKind.FLOAT, rtol=tolerance, atol=0.0, relative_l2=1.0)
    noisy = array * (1 + np.array([random.uniform(-0.49, 0.49) for _ in array]) * tolerance)
    assert same_values(comparator, array, noisy)
    place = int(abs(array).argmax())
    if array[place]:
        noisy[place] = array[place] * (1 + 3 * tolerance)
        assert not same_values(comparator, array, noisy)


answers = st.lists(
    st.sampled_from([data.encode(value) for value in (1.0, 1.00004, 1.00008, 1.0002, 2.0, "x")] + [b"\xc1"]), max_size=7
)
lenient = Comparator(kind=ComparatorKind.FLOAT, rtol=1e-4, relative_l2=1e-4)


@settings(max_examples=200)
@given(answers, st.integers(1, 4), st.randoms(use_true_random=False))
def test_the_order_of_answers_means_nothing(results, min_matches, random):
    shuffled = random.sample(results, len(results))
    one = canonical(results, lenient, min_matches=min_matches, decode=data.decode)
    two = canonical(shuffled, lenient, min_matches=min_matches, decode=data.decode)
    assert (one is None) == (two is None)
    if one is not None and two is not None:
        assert results[one.medoid] == shuffled[two.medoid]
        assert sorted(results[place] for place in one.matches) == sorted(shuffled[place] for place in two.matches)
        assert one.medoid in one.matches
        assert len(one.matches) >= min_matches


@settings(max_examples=200)
@given(
    st.sampled_from([Comparator(), Comparator(kind=ComparatorKind.JSON), lenient]),
    st.integers(0, 4),
    st.data(),
)
def test_no_minority_is_ever_canonical(comparator, honest, draws):
    """Whatever fewer than half answer, together or apart, and in whatever order."""
    truth = data.encode(1.0)
    lies = st.sampled_from([data.encode(2.0), data.encode(3.0), b"\xc1"])
    liars = draws.draw(st.lists(lies, max_size=max(honest - 1, 0)))
    results = draws.draw(st.permutations([truth] * honest + liars))
    found = canonical(results, comparator, min_matches=len(results) // 2 + 1, decode=data.decode)
    assert (found is None) == (honest == 0)
    assert found is None or results[found.medoid] == truth


@given(st.integers(1, 6), st.integers(0, 6))
def test_liars_alone_are_canonical_only_when_they_are_enough(liars, honest):
    results = [data.encode(2.0)] * liars + [data.encode(1.0)] * honest
    needed = len(results) // 2 + 1
    found = canonical(results, lenient, min_matches=needed, decode=data.decode)
    lied = found is not None and results[found.medoid] == data.encode(2.0)
    assert lied == (liars >= needed)


def test_what_is_canonical_among_none_needs_none():
    with pytest.raises(AssertionError):
        canonical([b"x"], lenient, min_matches=0, decode=data.decode)
