"""What a child process printed last becomes the error that it was."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpgrid.cli.render import Renderer, Style
from corpgrid.errors import CorpGridError, LoadError, SandboxError, StoreError, UnavailableError
from corpgrid.sdk.child_error import child_error, printed_error


@pytest.mark.parametrize("error", [SandboxError("no gate holds", remedy="Open one."), StoreError("in use")])
def test_an_error_keeps_its_class_its_message_and_its_remedy(
    error: CorpGridError, capsys: pytest.CaptureFixture[str]
) -> None:
    Renderer(Style.JSON).error(error)
    found = child_error("09:00 INFO it starts\n" + capsys.readouterr().err, "the child ended")
    assert type(found) is type(error)
    assert (str(found), found.remedy) == (f"the child ended: {error}", error.remedy)


@pytest.mark.parametrize("code", ["nobody_knows_this", LoadError.code])
def test_a_class_that_cannot_be_made_from_a_message_is_told_all_the_same(code: str) -> None:
    found = child_error(json.dumps({"error": code, "message": "no", "remedy": "Mend it."}), "it ended")
    assert type(found) is UnavailableError
    assert (str(found), found.remedy) == ("it ended: no", "Mend it.")


def test_whatever_else_it_said_is_told_harmless_for_a_terminal() -> None:
    assert str(child_error("Segmentation \x1b[31mfault\n", "it ended")) == "it ended: Segmentation \\x1b[31mfault"
    assert str(child_error(" \n", "it ended")) == "it ended"


@given(st.text() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_anything_can_have_been_said(said: str) -> None:
    assert printed_error(said, "it ended") is None
    assert str(child_error(said, "it ended")).startswith("it ended")
