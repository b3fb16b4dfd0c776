"""Comparators by example."""

from __future__ import annotations

import json

import numpy as np
import pytest

from corpgrid.domain.compare import canonical, distance, same
from corpgrid.domain.job import Comparator, ComparatorKind
from corpgrid.errors import MalformedDataError
from corpgrid.wire import data

BYTES, JSON, TEXT = (Comparator(kind=kind) for kind in (ComparatorKind.BYTES, ComparatorKind.JSON, ComparatorKind.TEXT))
FLOAT = Comparator(kind=ComparatorKind.FLOAT, rtol=1e-3, atol=1e-9, relative_l2=1e-4)
NAN, INF = float("nan"), float("inf")


def alike(comparator, one, two):
    found = same(comparator, data.encode(one), data.encode(two), decode=data.decode)
    assert found == same(comparator, data.encode(two), data.encode(one), decode=data.decode)
    return found


def test_bytes_are_never_decoded():
    def refuse(content):
        raise AssertionError(content)

    assert same(BYTES, b"\xc1", b"\xc1", decode=refuse)
    assert not same(BYTES, b"\xc1", b"\xc0", decode=refuse)


@pytest.mark.parametrize("comparator", [JSON, TEXT, FLOAT])
def test_what_cannot_be_decoded_is_not_the_same_as_itself(comparator):
    assert not same(comparator, b"\xc1", b"\xc1", decode=data.decode)
    assert not same(comparator, b"\xc1", data.encode(1), decode=data.decode)


@pytest.mark.parametrize(
    ("one", "two", "expected"),
    [
        ({"a": 1, "b": [2, None]}, {"b": [2, None], "a": 1}, True),
        ([1, 2], [2, 1], False),
        ((1, 2), [1, 2], True),
        (1, 1.0, True),
        (0.1 + 0.2, 0.3, False),
        (1, True, False),
        (0, None, False),
        ("1", 1, False),
        (b"a", "a", False),
        ([NAN, INF], [NAN, INF], True),
        (NAN, 0.0, False),
        (complex(NAN, 1), complex(NAN, 1), True),
        (complex(NAN, 1), complex(NAN, 2), False),
        (2**70, 2**70, True),
        (2**53 + 1, float(2**53), False),
        ({"a": 1}, {"a": 1, "b": 1}, False),
        ('{"a": 0.10, "b": 1}', '{"b": 1.0, "a": 0.1}', True),
        ('{"a": 0.1}', '{"a": 0.1000000000000000055}', False),
        ("1e400", "1e500", False),
        ("not json", "not json ", False),
        ("[" * 100_000, "[" * 100_001, False),
        ("[" * 900 + "]" * 900, " " + "[" * 900 + "]" * 900, None),
        (np.arange(3), np.arange(3), True),
        (np.arange(3), np.arange(3.0), False),
        (np.array([NAN]), np.array([NAN]), True),
    ],
)
def test_json(one, two, expected):
    found = alike(JSON, one, two)
    assert expected is None or found == expected  # None: deep enough that either answer will do, but one is given


@pytest.mark.parametrize(
    ("one", "two", "expected"),
    [
        ("a\r\nb  \n\n", "a\nb", True),
        ("a\rb", "a\nb", True),
        ("caf\u00e9", "cafe\u0301", True),
        ("a\n\nb", "a\nb", False),
        (" a", "a", False),
        ({"out": "x \n"}, {"out": "x"}, True),
        ({"out": "x", "code": 0}, {"out": "x", "code": 1}, False),
        (b"a\r\n", b"a\n", False),
    ],
)
def test_text(one, two, expected):
    assert alike(TEXT, one, two) == expected


@pytest.mark.parametrize(
    ("one", "two", "expected"),
    [
        (1.0, 1.00005, True),
        (1.0, 1.0005, False),  # within rtol, beyond relative_l2
        (1.0, 1.01, False),
        (1e-17, 0.0, True),
        (-0.0, 0.0, True),
        (1, 1.0, False),
        (1, 2, False),
        (True, 1, False),
        ({"loss": 0.5, "n": 3}, {"n": 3, "loss": 0.50001}, True),
        ({"loss": 0.5}, {"lost": 0.5}, False),
        (["x", 1.0], ["y", 1.0], False),
        ([1.0, NAN, INF], [1.0, NAN, INF], True),
        ([1.0, NAN], [NAN, 1.0], False),
        ([INF], [-INF], False),
        ([INF], [1e308], False),
        (1e308, -1e308, False),
        (1e308, 1.00001e308, True),
        (5e-324, 0.0, True),
        (1 + 1e-12j, 1 + 2e-12j, True),
        (1 + 1j, 1 - 1j, False),
        (complex(INF, 1), complex(INF, 2), False),
        ([], [], True),
        ([1.0], [1.0, 1.0], False),
        (None, None, True),
    ],
)
def test_floats(one, two, expected):
    assert alike(FLOAT, one, two) == expected


ARRAY = np.linspace(-1.0, 1.0, 1_000)


@pytest.mark.parametrize(
    ("one", "two", "expected"),
    [
        (ARRAY, ARRAY * (1 + 1e-5), True),
        (ARRAY, ARRAY * (1 + 5e-4), False),  # every element a little: relative_l2 sees it
        (ARRAY, np.where(np.arange(1_000) == 7, ARRAY * 1.1, ARRAY), False),  # one element a lot: rtol sees it
        (ARRAY, ARRAY.astype(np.float32), True),
        (ARRAY, ARRAY.astype(">f8"), True),
        (ARRAY, ARRAY.reshape(10, 100), False),
        (ARRAY, ARRAY.tolist(), False),
        (ARRAY, ARRAY.astype(complex), False),
        (np.arange(5, dtype=np.int32), np.arange(5, dtype=np.int64), True),
        (np.arange(5), np.arange(5) + 1, False),
        (np.arange(5), np.arange(5, dtype=np.uint64), False),
        (np.array(["a", "b"]), np.array(["a", "b"]), True),
        (np.array(["a", "b"]), np.array(["a", "c"]), False),
        (np.array([True]), np.array([False]), False),
        (np.zeros((0, 3)), np.zeros((0, 3)), True),
        (np.zeros((0, 3)), np.zeros((3, 0)), False),
        (np.array([1.0, np.nan, np.inf]), np.array([1.0, np.nan, np.inf]), True),
        (np.array([1.0, np.nan]), np.array([np.nan, 1.0]), False),
        (np.array([np.inf, 1.0]), np.array([-np.inf, 1.0]), False),
        (np.float32(1.0), np.float32(1.00001), True),
        (np.float64(1.0), 1.00001, True),
        (np.array(1.0), np.array(2.0), False),
        (np.full(3, 1e300), np.full(3, 1.00001e300), True),
        (np.array([1 + 1j]), np.array([1 + 1.00001j]), True),
    ],
)
def test_arrays(one, two, expected):
    assert alike(FLOAT, one, two) == expected
    if expected:
        assert alike(FLOAT, {"x": [one]}, {"x": [two]})


def test_no_liar_hides_a_small_array_behind_a_large_one():
    honest = {"large": np.full(1_000, 1e6), "small": np.full(10, 1e-3)}
    lied = {"large": np.full(1_000, 1e6), "small": np.full(10, 1.0009e-3)}
    assert not alike(FLOAT, honest, lied)


def test_tolerance_is_taken_of_the_larger_so_that_both_sides_see_the_same():
    wide = Comparator(kind=ComparatorKind.FLOAT, rtol=0.1, atol=0.0, relative_l2=1.0)
    assert alike(wide, 1.0, 1.11)
    assert not alike(wide, 1.0, 1.12)
    narrow = Comparator(kind=ComparatorKind.FLOAT, rtol=1.0, atol=0.0, relative_l2=0.1)
    assert alike(narrow, 1.0, 1.11)
    assert not alike(narrow, 1.0, 1.12)


def test_distance_says_how_far():
    def far(one, two):
        return distance(FLOAT, data.encode(one), data.encode(two), decode=data.decode)

    assert far(1.0, 1.0) == 0.0
    assert 0.0 < far(1.0, 1.00001) < far(1.0, 1.00005) < float("inf") == far(1.0, 2.0)


def test_the_medoid_is_the_one_in_the_middle():
    """Agreement is not transitive: the ends of a row agree with the middle and not with each other."""
    row = [data.encode(value) for value in (1.0, 1.00008, 1.00016)]
    for order in ([0, 1, 2], [1, 0, 2], [2, 0, 1]):
        results = [row[place] for place in order]
        found = canonical(results, FLOAT, min_matches=2, decode=data.decode)
        assert found is not None
        assert found.medoid == order.index(1)
        assert found.matches == (0, 1, 2)


def test_among_equals_the_medoid_is_nearest_to_the_others():
    results = [data.encode(value) for value in (1.0, 1.00003, 1.00009)]
    for order in ([0, 1, 2], [1, 0, 2], [2, 0, 1]):
        found = canonical([results[place] for place in order], FLOAT, min_matches=3, decode=data.decode)
        assert found == (order.index(1), (0, 1, 2))


def test_no_medoid_where_too_few_agree():
    results = [data.encode(value) for value in (1, 1, 2, 3)]
    assert canonical(results, JSON, min_matches=2, decode=data.decode) == (0, (0, 1))
    assert canonical(results, JSON, min_matches=3, decode=data.decode) is None
    assert canonical([], JSON, min_matches=1, decode=data.decode) is None
    assert canonical([b"\xc1", b"\xc1"], JSON, min_matches=1, decode=data.decode) is None


def test_only_bad_data_counts_as_different():
    def broken(content):
        raise ZeroDivisionError(content)

    def malformed(content):
        raise MalformedDataError(repr(content))

    assert not same(JSON, b"1", b"2", decode=malformed)
    with pytest.raises(ZeroDivisionError):
        same(JSON, b"1", b"2", decode=broken)
    assert same(JSON, b"[1.0]", b"[ 1 ]", decode=json.loads)
