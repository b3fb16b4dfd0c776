from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpgrid.errors import (
    CorpGridError,
    GridError,
    IllegalMoveError,
    LimitError,
    LoadError,
    MalformedDataError,
    OutputError,
    OverloadedError,
    TaskFailedError,
)
from corpgrid.wire.convert_errors import _ATTRIBUTES, CLASSES, ERROR_BYTES, error_from_wire, error_to_wire
from corpgrid.wire.v1 import scheduler_pb2 as pb

_OWN_SHAPE = {
    LimitError: LimitError("inline_bytes", limit=10, got=11.5, what="the result"),
    TaskFailedError: TaskFailedError(3, reason="raised", detail="Traceback\nValueError: no"),
    LoadError: LoadError("import", "no module named search"),
    OutputError: OutputError("output_bytes", "a.bin is too large"),
    OverloadedError: OverloadedError("full", retry_after_seconds=2.5),
    IllegalMoveError: IllegalMoveError("task job_a/3", old="final", new="ready", story=("one", "two")),
}


@pytest.mark.parametrize("kind", CLASSES.values(), ids=CLASSES.keys())
def test_an_error_is_raised_again_as_what_it_was(kind: type[CorpGridError]) -> None:
    error = _OWN_SHAPE.get(kind) or kind("what happened, and why", remedy="what to do")
    again = error_from_wire(error_to_wire(error))
    assert type(again) is kind
    assert (str(again), again.remedy, vars(again)) == (str(error), error.remedy, vars(error))


def test_every_class_has_a_code_of_its_own() -> None:
    def count(kind: type[CorpGridError]) -> int:
        return 1 + sum(count(child) for child in kind.__subclasses__() if child.__module__ == "corpgrid.errors")

    assert len(CLASSES) == count(CorpGridError)


def test_what_an_error_carries_beside_its_message_travels() -> None:
    own = {kind for kind in CLASSES.values() if "__init__" in vars(kind) and kind is not CorpGridError}
    assert own == set(_ATTRIBUTES) == set(_OWN_SHAPE)


def test_an_unknown_code_is_an_answer_that_says_no() -> None:
    content = pb.ErrorDetail(code="from_the_future", message="no").SerializeToString()
    assert type(error_from_wire(content)) is GridError


@pytest.mark.parametrize("attributes", ["", "[]", "nonsense", '{"got": 4, "__class__": 5}'])
def test_attributes_that_make_no_sense_are_left_out(attributes: str) -> None:
    content = pb.ErrorDetail(code="limit", message="too large", attributes=attributes).SerializeToString()
    error = error_from_wire(content)
    assert isinstance(error, LimitError)
    assert error.limit_name == ""


@given(st.binary(max_size=64))
def test_any_bytes_make_an_error(content: bytes) -> None:
    error = error_from_wire(content)
    assert isinstance(error, (GridError, MalformedDataError, CorpGridError))


@given(st.text(max_size=20_000), st.text(max_size=5_000))
def test_an_error_fits_in_metadata(message: str, remedy: str) -> None:
    assert len(error_to_wire(GridError(message, remedy=remedy))) < ERROR_BYTES
