"""The page on what goes wrong quotes what the program really says, and all that it says of databases and buckets."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache

import pytest

from corpgrid.blobs import cloud_errors
from corpgrid.stores.postgres import driver
from tests.house.tree import DOCS, modules

PAGE = DOCS / "how-to" / "troubleshooting.md"
_ANYTHING = "…"
_FIELD = re.compile(r"\{\w+\}")
_ROW = re.compile(r"^\| (`[^`]+`) \|", re.MULTILINE)


@cache
def said() -> tuple[str, ...]:
    """Every text in the program, with an ellipsis where something is filled in."""
    return tuple(text for path in modules() for text in _texts(ast.parse(path.read_bytes())))


def _texts(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else _ANYTHING for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield _FIELD.sub(_ANYTHING, node.value)


def quoted() -> list[str]:
    """What the page says that the program says."""
    return [text.strip("`") for text in _ROW.findall(PAGE.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("text", quoted())
def test_the_program_says_what_the_page_quotes(text: str) -> None:
    pattern = re.compile(".*".join(map(re.escape, text.split(_ANYTHING))))
    assert any(pattern.search(one) for one in said()), f"nothing in the program says: {text}"


def test_every_fault_of_a_database_or_bucket_is_on_the_page() -> None:
    stories = [story for _, story, remedy in driver._REMEDIES if remedy != driver._A_BUG]
    stories += [_FIELD.sub(_ANYTHING, fault.happened) for fault in cloud_errors._FAULTS]
    assert [story for story in stories if story not in quoted()] == []
