"""What goes into the data codec comes out of it; what is not its own is refused, and never believed."""

from __future__ import annotations

import contextlib
import math
import struct
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from corpgrid.errors import MalformedDataError, NotDataError
from corpgrid.wire import data as codec
from corpgrid.wire.data import decode, encode
from corpgrid.wire.frames import FrameReader, encode_frame

leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=-(2**300), max_value=2**300)
    | st.floats(allow_nan=False)
    | st.complex_numbers(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.binary()
)
keys = st.recursive(leaves, lambda inner: st.tuples(inner, inner), max_leaves=4)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(keys, inner),
    max_leaves=40,
)
dtypes = (
    hnp.boolean_dtypes()
    | hnp.integer_dtypes(endianness="?")
    | hnp.unsigned_integer_dtypes(endianness="?")
    | hnp.floating_dtypes(endianness="?", sizes=(16, 32, 64))
    | hnp.complex_number_dtypes(endianness="?", sizes=(64, 128))
    | hnp.byte_string_dtypes(min_len=1, max_len=8)
    | hnp.unicode_string_dtypes(min_len=1, max_len=8)
    | hnp.datetime64_dtypes()
    | hnp.timedelta64_dtypes()
)
arrays = hnp.arrays(dtypes, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))


def same(left: Any, right: Any) -> bool:
    """Equal, and of equal types all the way down; zeros keep their sign."""
    if type(left) is not type(right):
        return False
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return len(left) == len(right) and all(
            same(*pair) for pairs in zip(left.items(), right.items(), strict=True) for pair in zip(*pairs, strict=True)
        )
    if isinstance(left, float):
        return left == right and math.copysign(1, left) == math.copysign(1, right)
    return bool(left == right)


@given(values)
def test_what_goes_in_comes_out(value: Any):
    assert same(decode(encode(value)), value)


@given(values)
def test_equal_values_have_one_encoding(value: Any):
    assert encode(decode(encode(value))) == encode(value)


@given(arrays)
def test_arrays_come_out_bit_for_bit_and_can_be_written_to(array: np.ndarray):
    found = decode(encode(array))
    assert (found.dtype, found.shape) == (array.dtype, array.shape)
    assert found.tobytes() == array.tobytes()
    assert found.flags.writeable


@given(arrays)
def test_any_view_of_an_array_travels(array: np.ndarray):
    view = array.T[::-1] if array.ndim else array
    assert decode(encode(view)).tobytes() == view.tobytes()


@given(arrays.filter(lambda array: array.size))
def test_numpy_scalars_keep_their_type(array: np.ndarray):
    scalar = array.flat[0]
    found = decode(encode(scalar))
    if isinstance(scalar, (np.str_, np.bytes_)):
        assert found == scalar
        assert type(found) in (str, bytes)
    else:
        assert type(found) is type(scalar)
        assert found.tobytes() == scalar.tobytes()


@given(st.binary(max_size=200))
def test_random_bytes_raise_nothing_but_malformed_data(content: bytes):
    with contextlib.suppress(MalformedDataError):
        decode(content)


@given(values | arrays, st.data())
@settings(max_examples=300)
def test_damaged_bytes_raise_nothing_but_malformed_data(value: Any, data: st.DataObject):
    content = bytearray(encode([value, (value, 2**90)]))
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=4)):
        content[place] = data.draw(st.integers(0, 255))
    with contextlib.suppress(MalformedDataError):
        repr(decode(bytes(content)))


@given(values, st.integers(1, 20))
def test_cut_or_lengthened_bytes_are_refused(value: Any, count: int):
    content = encode(value)
    with pytest.raises(MalformedDataError):
        decode(content[: max(0, len(content) - count)])
    with pytest.raises(MalformedDataError):
        decode(content + b"\xc0" * count)


@given(st.integers(2, 60), st.sampled_from([b"\xdd", b"\xdf"]), st.integers(1_000, 100_000))
@settings(max_examples=30)
def test_claims_make_no_room(levels: int, header: bytes, claimed: int):
    """Lists in lists, each of which claims all bytes that follow as its entries."""
    content = (header + struct.pack(">I", claimed)) * levels + b"\x00" * claimed
    tracemalloc.start()
    try:
        with pytest.raises(MalformedDataError):
            decode(content)
        assert tracemalloc.get_traced_memory()[1] < 4 * len(content) + 100_000
    finally:
        tracemalloc.stop()


@given(st.lists(st.lists(leaves, max_size=5), max_size=6), st.lists(st.integers(1, 40), min_size=1))
def test_frames_come_out_however_the_bytes_are_cut(frames: list[list[Any]], cuts: list[int]):
    try:
        stream = b"".join(encode_frame("kind", *fields) for fields in frames)
    except (TypeError, OverflowError):
        return  # a frame holds less than data does
    reader, found = FrameReader(), []
    while stream:
        size = cuts[len(found) % len(cuts)]
        found += reader.feed(stream[:size])
        stream = stream[size:]
    assert found == [["kind", *fields] for fields in frames]
    assert reader.pending_bytes == 0


@given(st.lists(st.binary(max_size=60), max_size=5))
def test_random_bytes_in_a_frame_reader_raise_nothing_but_malformed_data(parts: list[bytes]):
    reader = FrameReader()
    with contextlib.suppress(MalformedDataError):
        for part in parts:
            reader.feed(part)


@given(values)
def test_a_set_anywhere_is_found_and_named(value: Any):
    with pytest.raises(NotDataError, match=r"value\[1\]\['here'\] cannot travel: set is not data"):
        encode([value, {"before": value, "here": {1, 2}}])


@given(st.binary(max_size=24) | leaves.map(encode) | st.tuples(leaves.map(encode), st.binary(max_size=2)).map(b"".join))
def test_a_single_value_is_read_by_the_same_rules_as_any_other(content: bytes):
    def read() -> tuple[str, Any]:
        try:
            return "value", decode(content)
        except MalformedDataError:
            return "refused", None

    short_way = read()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(codec, "_SINGLE", frozenset())
        long_way = read()
    assert short_way[0] == long_way[0]
    assert same(short_way[1], long_way[1]) or short_way[1] != short_way[1]
