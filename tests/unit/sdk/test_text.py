"""Text from strangers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpgrid.sdk.text import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, and ünïcödé 你好", "plain, and ünïcödé 你好"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("back\x08space\rreturn\x7f\x9b", "back\\x08space\\x0dreturn\\x7f\\x9b"),
        ("right to left \u202e", "right to left \\u202e"),
        ("\U000e0001 a tag", "\\U000e0001 a tag"),
        ("\ud800", "\\ud800"),
    ],
)
def test_control_characters_become_visible(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text())
def test_nothing_but_printable_text_gets_through(text: str) -> None:
    assert all(letter.isprintable() or letter in "\n\t" for letter in printable(text))
    assert printable(text, keep="").isprintable()
    if text.isprintable():
        assert printable(text) == text
