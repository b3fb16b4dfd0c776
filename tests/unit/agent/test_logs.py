"""A log is cut where its marks are, and nowhere else, however the bytes come."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpgrid.agent.logs import Clipping, LogSplitter, TaskLog

NONCE = b"0123456789abcdef"


def mark(index: int, attempt: int = 0) -> bytes:
    return b"\0" + NONCE + b"%d.%d\0\n" % (index, attempt)


def splitter(*indexes: int, log_bytes: int = 1 << 20) -> LogSplitter:
    made = LogSplitter(nonce=NONCE, log_bytes=log_bytes)
    for index in indexes:
        made.expect(index, 0)
    return made


nasty = st.lists(
    st.sampled_from(
        [b"\0", b"\n", b"\0\n", NONCE, b"\0" + NONCE, mark(99), mark(0, 7), b"\xff\xfe", b"\x1b[2J", b"words"]
    )
    | st.binary(max_size=8)
).map(b"".join)


@given(st.lists(nasty, min_size=1, max_size=6), st.lists(st.integers(1, 9), min_size=1), nasty)
def test_each_task_gets_its_own_words(said: list[bytes], cuts: list[int], after: bytes):
    logs = [words.replace(mark(index), b"") for index, words in enumerate(said)]
    stream = b"".join(words + mark(index) for index, words in enumerate(logs)) + after
    under_test = splitter(*range(len(logs)))
    found: list[TaskLog] = []
    turn = 0
    while stream:
        size = cuts[turn % len(cuts)]
        found += under_test.feed(stream[:size])
        stream = stream[size:]
        turn += 1
    assert found == [TaskLog(words, 0) for words in logs]
    assert under_test.finish() == TaskLog(after, 0)


def test_a_forged_mark_ends_only_the_log_of_the_task_that_forged_it():
    under_test = splitter(0, 1, 2)
    forged = b"one" + mark(0) + mark(5) + mark(2) + b"more"
    assert under_test.feed(forged + mark(0) + b"two" + mark(1)) == [
        TaskLog(b"one", 0),
        TaskLog(mark(5) + mark(2) + b"more" + mark(0) + b"two", 0),
    ]
    assert under_test.feed(b"three" + mark(2)) == [TaskLog(b"three", 0)]


def test_nothing_is_held_back_when_no_mark_is_due():
    under_test = splitter()
    assert under_test.feed(b"\0" + NONCE) == []
    assert under_test.finish().kept == b"\0" + NONCE


@given(st.lists(st.binary(max_size=300)), st.integers(0, 400))
def test_clipping_keeps_start_and_end_and_counts_the_rest(parts: list[bytes], limit: int):
    clipping = Clipping(limit)
    for part in parts:
        clipping.add(part)
    whole = b"".join(parts)
    kept, dropped = clipping.result()
    assert len(kept) <= limit
    if dropped == 0:
        assert kept == whole
        return
    start, gap, end = kept.partition(b"\n[... %d bytes dropped ...]\n" % dropped)
    assert whole.startswith(start)
    assert whole.endswith(end)
    assert len(start) + dropped + len(end) == len(whole)
    assert gap or limit // 2 <= 64


@pytest.mark.parametrize("limit", [0, 1, 2, 3])
def test_a_log_may_be_limited_to_next_to_nothing(limit: int):
    clipping = Clipping(limit)
    clipping.add(b"abcdef")
    kept, dropped = clipping.result()
    assert len(kept) <= limit
    assert len(kept) + dropped == 6


def test_a_flood_takes_no_more_memory_than_its_limit():
    under_test = splitter(0, log_bytes=1000)
    for _ in range(1000):
        assert under_test.feed(b"x" * 65_536) == []
    (log,) = under_test.feed(b"the end" + mark(0))
    assert len(log.kept) <= 1000
    assert log.kept.endswith(b"the end")
    assert log.dropped > 65_000_000
