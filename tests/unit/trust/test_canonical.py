"""Canonical JSON: one value, one encoding; everything else is refused."""

import pytest

from corpgrid.errors import MalformedDataError, NotDataError
from corpgrid.trust.canonical import decode, encode


def test_the_encoding_is_fixed():
    value = {"ä": [1, -2, 1.0, 1e300, True, None], "a": {"c": '\n"é/', "b": {}}}
    content = '{"a":{"b":{},"c":"\\n\\"é/"},"ä":[1,-2,1.0,1e+300,true,null]}'.encode()
    assert encode(value) == content
    assert decode(content) == value


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b'{"a":1,"a":2}', "the key 'a' stands twice"),
        (b'{"a":1,"c":1,"c":2}', "the key 'c' stands twice"),
        (b'{"a":{"b":1,"b":1}}', "the key 'b' stands twice"),
        (b"NaN", "NaN has no place"),
        (b"[Infinity]", "Infinity has no place"),
        (b"[-Infinity]", "-Infinity has no place"),
        (b"1e999", "inf"),
        (b"9223372036854775808", "beyond 64 bits"),
        (b"1" * 10_000, "not JSON"),
        (b'{"b":1,"a":2}', "not canonical from byte 2 on"),
        (b'{"a": 1}', "not canonical"),
        (b" 1", "not canonical"),
        (b"1\n", "not canonical"),
        (b"1.50", "not canonical"),
        (b"1E2", "not canonical"),
        (b'"\\u0041"', "not canonical"),
        (b'"\\/"', "not canonical"),
        (b'"\\ud800"', "not Unicode"),
        (b'{"\\udfff":1}', "not Unicode"),
        (b"\xef\xbb\xbf1", "not JSON"),
        (b'"\xff"', "not JSON"),
        (b"", "not JSON"),
        (b"1 2", "not JSON"),
        (b"'a'", "not JSON"),
        (b"[1,]", "not JSON"),
        (b"[" * 40 + b"]" * 40, "nested too deeply"),
        (b"[" * 1_000_000, "nested too deeply"),
        (b'{"a":' * 1_000_000, "nested too deeply"),
    ],
)
def test_what_is_not_canonical_is_refused(content, why):
    with pytest.raises(MalformedDataError, match=why):
        decode(content)


@pytest.mark.parametrize("number", [2**63 - 1, 1 - 2**63])
def test_integers_have_64_bits(number):
    assert decode(encode(number)) == number
    with pytest.raises(NotDataError, match="beyond 64 bits"):
        encode(number + (1 if number > 0 else -1))


def test_size_is_limited():
    with pytest.raises(MalformedDataError, match="11 bytes of JSON where 10 are allowed"):
        decode(b'"123456789"', max_bytes=10)
    assert decode(b'"12345678"', max_bytes=10) == "12345678"


def test_depth_is_limited():
    assert decode(b"[[1]]", max_depth=2) == [[1]]
    with pytest.raises(MalformedDataError, match="nested too deeply"):
        decode(b"[[[1]]]", max_depth=2)


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ({"a": [0, float("nan")]}, r"the value\.a\[1\] is nan"),
        ({"a": b"bytes"}, r"the value\.a is of type bytes"),
        ({1: 2}, "the key 1, which is not text"),
        ({"\ud800": 2}, "not Unicode"),
        ([1 << 63], r"the value\[0\] is an integer beyond 64 bits"),
        ({"a"}, "of type set"),
    ],
)
def test_what_has_no_canonical_form_is_not_written(value, place):
    with pytest.raises(NotDataError, match=place):
        encode(value)


def test_a_value_that_holds_itself_is_not_written():
    value: list[object] = []
    value.append(value)
    with pytest.raises(NotDataError, match="nested too deeply"):
        encode(value)
