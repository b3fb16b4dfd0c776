"""The page of the library names everything that is public, and nothing that is not there."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

import corpgrid
from corpgrid.sdk.request import Options
from tests.house.tree import DOCS

PAGE = (DOCS / "reference" / "python.md").read_text(encoding="utf-8")
PROSE = re.sub(r"^```.*?^```$", "", PAGE, flags=re.MULTILINE | re.DOTALL)
NAMED = set(re.findall(r"\b[A-Za-z_]\w*\b", " ".join(re.findall(r"`([^`]+)`", PROSE))))


def methods(kind: type) -> set[str]:
    """Public methods and properties that a class itself defines."""
    return {
        name
        for name, value in vars(kind).items()
        if not name.startswith("_") and (callable(value) or isinstance(value, property))
    }


@pytest.mark.parametrize("name", corpgrid.__all__)
def test_every_public_name_is_on_the_page(name: str) -> None:
    assert name in NAMED


@pytest.mark.parametrize("kind", [corpgrid.Grid, corpgrid.Job], ids=lambda kind: kind.__name__)
def test_every_method_is_on_the_page(kind: type) -> None:
    assert methods(kind) - NAMED == set()


def test_every_method_in_a_table_is_there() -> None:
    tables = {"## A grid": corpgrid.Grid, "## A job": corpgrid.Job}
    for title, kind in tables.items():
        section = PAGE.partition(f"{title}\n")[2].partition("\n## ")[0].partition("\n### ")[0]
        first = "\n".join(re.findall(r"^\| (`.+?) \|", section, re.MULTILINE))
        assert set(re.findall(r"`(\w+)\(", first)) == {
            name for name in methods(kind) if not isinstance(vars(kind)[name], property)
        }


def test_options_are_those_of_map() -> None:
    section = PAGE.partition("### Options\n")[2].partition("\n## ")[0]
    shown = set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))
    parameters = inspect.signature(corpgrid.Grid.map).parameters
    keywords = {name for name, parameter in parameters.items() if parameter.kind is parameter.KEYWORD_ONLY}
    assert shown == keywords == set(Options.__annotations__)


@pytest.mark.parametrize("kind", [corpgrid.Grid, corpgrid.Job, corpgrid.GridExecutor], ids=lambda kind: kind.__name__)
def test_every_method_says_what_it_does(kind: type) -> None:
    for name in methods(kind):
        assert (inspect.getdoc(getattr(kind, name)) or "").strip(), name


def test_everything_public_is_typed() -> None:
    root = Path(corpgrid.__file__).parent
    assert (root / "py.typed").is_file()
    for kind in (corpgrid.Grid, corpgrid.Job, corpgrid.GridExecutor):
        for name in methods(kind):
            value = vars(kind)[name]
            function = value.fget if isinstance(value, property) else value
            hints = inspect.signature(function)
            assert hints.return_annotation is not hints.empty, f"{kind.__name__}.{name}"
            missing = [p.name for p in hints.parameters.values() if p.name != "self" and p.annotation is p.empty]
            assert missing == [], f"{kind.__name__}.{name}"
