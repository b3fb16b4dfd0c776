"""Canonical JSON: one value has one encoding, and any other bytes are refused or mean another value."""

import json
from contextlib import suppress

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from corpgrid.errors import MalformedDataError
from corpgrid.trust.canonical import decode, encode

WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63) + 1, 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | WORDS
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4), max_leaves=20
)


def same(one: object, other: object) -> bool:
    """Equal, and of the same types: in Python 1, 1.0 and True are equal, and so are 0.0 and -0.0."""
    return repr(one) == repr(other)


def sorted_keys(value: object) -> object:
    match value:
        case dict():
            return {name: sorted_keys(value[name]) for name in sorted(value)}
        case list():
            return [sorted_keys(entry) for entry in value]
    return value


@given(VALUES)
def test_what_is_encoded_is_decoded(value):
    content = encode(value)
    assert same(decode(content), sorted_keys(value))
    assert encode(decode(content)) == content
    assert b"\n" not in content


@given(st.dictionaries(WORDS, VALUES, min_size=2, max_size=5))
def test_the_order_of_keys_does_not_matter(value):
    assert encode(value) == encode(dict(reversed(value.items())))


@given(
    VALUES,
    st.sampled_from([{"indent": 1}, {"separators": (", ", ":")}, {"separators": (",", ": ")}, {"ensure_ascii": True}]),
)
def test_another_layout_is_refused(value, layout):
    spelled = json.dumps(
        value, **{"sort_keys": True, "ensure_ascii": False, "separators": (",", ":"), **layout}
    ).encode()
    assume(spelled != encode(value))
    with pytest.raises(MalformedDataError):
        decode(spelled)


@given(VALUES, st.data())
def test_a_flipped_bit_is_refused_or_another_value(value, data):
    content = encode(value)
    bit = data.draw(st.integers(0, 8 * len(content) - 1))
    flipped = bytearray(content)
    flipped[bit // 8] ^= 1 << bit % 8
    try:
        found = decode(bytes(flipped))
    except MalformedDataError:
        return
    assert not same(found, sorted_keys(value))
    assert encode(found) == flipped


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(content):
    with suppress(MalformedDataError):
        assert encode(decode(content)) == content
