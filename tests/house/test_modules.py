"""How a module looks: it states its rules, fits in a head, and is called by what it is."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.house.tree import ROOT, SRC, docstring, modules, name

LINES_MAX = 400
RULES_MIN_CHARACTERS = 20
VAGUE = {"common", "helper", "helpers", "manager", "misc", "util", "utils"}

every_module = pytest.mark.parametrize("path", modules(), ids=name)


@every_module
def test_opens_with_a_docstring_that_states_its_rules(path: Path) -> None:
    text = docstring(path)
    assert len(text) >= RULES_MIN_CHARACTERS, f"{name(path)}: what are its rules?"
    assert "." in text, f"{name(path)}: its docstring holds no sentence"


@every_module
def test_fits_in_a_head(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= LINES_MAX, f"{name(path)} has {lines} lines: what are the two things in it called?"


@every_module
def test_is_called_by_what_it_is(path: Path) -> None:
    assert VAGUE.isdisjoint(path.stem.split("_")), f"{name(path)}: say what it holds"


@pytest.mark.parametrize("path", [path for path in modules() if path.name == "__init__.py"], ids=name)
def test_a_package_imports_nothing_of_its_own(path: Path) -> None:
    """An eager ``__init__`` is how circles begin.  The root offers names on first use; config is one module."""
    if path.parent in {SRC, SRC / "config"}:
        pytest.skip("its names are what it is for")
    body = ast.parse(path.read_bytes()).body
    assert all(isinstance(node, ast.Expr) for node in body), f"{name(path)} holds more than its docstring"


def test_every_folder_of_tests_is_a_package() -> None:
    folders = {path.parent for path in (ROOT / "tests").rglob("*.py")}
    missing = sorted(name(folder) for folder in folders if not (folder / "__init__.py").is_file())
    assert not missing, f"without __init__.py two tests of one name hide each other: {missing}"
