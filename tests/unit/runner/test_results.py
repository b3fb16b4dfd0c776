"""What leaves the runner of a result or an exception, without a process."""

from __future__ import annotations

import pytest

from corpgrid.runner.results import MAX_TRACEBACK_CHARACTERS, Failure, encode_result, failure_of
from corpgrid.wire.data import decode


def test_a_result_is_encoded():
    assert decode(encode_result({"a": (1, 2)}, result_bytes=100)) == {"a": (1, 2)}


def test_a_failure_speaks_for_itself():
    assert failure_of(Failure("exit_code", "it ended with 3")) == ("exit_code", "it ended with 3")


def test_a_limit_counts_the_encoded_bytes():
    assert len(encode_result(b"x" * 98, result_bytes=100)) == 100
    with pytest.raises(Failure, match="result_bytes"):
        encode_result(b"x" * 99, result_bytes=100)


def test_the_end_of_a_long_story_is_kept():
    reason, detail = failure_of(ValueError("x" * 100_000 + "the end"))
    assert reason == "raised"
    assert len(detail) <= MAX_TRACEBACK_CHARACTERS + 4
    assert detail.endswith("the end\n")


def test_a_detail_is_always_unicode():
    for cause in (ValueError("\ud800"), Failure("raised", "\udfff")):
        failure_of(cause)[1].encode()


def test_a_traceback_says_where():
    with pytest.raises(ValueError, match="invalid literal") as raised:
        int("x")
    assert "in test_a_traceback_says_where" in failure_of(raised.value)[1]
