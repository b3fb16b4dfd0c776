"""The tree of errors is the tree that its docstring draws, and every error can be told from the others."""

from __future__ import annotations

import ast
import re

from corpgrid import errors
from corpgrid.errors import CorpGridError
from tests.house import tree

_DRAWN = re.compile(r"^    (?P<lead>[| `-]*?)(?P<name>[A-Z]\w+Error)\b(?P<rest>.*)$", re.MULTILINE)
_EXIT = re.compile(r"\bexit (\d+)")
_STEP = len("|   ")

Parent = tuple[str, str]


def descendants(root: type[CorpGridError]) -> list[type[CorpGridError]]:
    """A class and all below it."""
    return [root, *(leaf for child in root.__subclasses__() for leaf in descendants(child))]


def in_module() -> list[type[CorpGridError]]:
    """All errors that ``corpgrid.errors`` defines."""
    return [error for error in descendants(CorpGridError) if error.__module__ == errors.__name__]


def drawn() -> list[tuple[str, str, str]]:
    """(name, name of its parent, what stands beside it), as the docstring draws them."""
    assert errors.__doc__
    path: list[str] = []
    found = []
    for match in _DRAWN.finditer(errors.__doc__):
        depth = len(match["lead"]) // _STEP
        path[depth:] = [match["name"]]
        found.append((match["name"], path[depth - 1] if depth else "", match["rest"]))
    return found


def test_the_drawing_is_the_tree() -> None:
    real = {
        (error.__name__, error.__bases__[0].__name__ if error is not CorpGridError else "") for error in in_module()
    }
    assert {(name, parent) for name, parent, _ in drawn()} == real


def test_the_exit_codes_are_as_drawn() -> None:
    """A class without one in the drawing has its parent's."""
    shown = {"": CorpGridError.exit_code}
    for name, parent, rest in drawn():
        match = _EXIT.search(rest)
        shown[name] = int(match[1]) if match else shown[parent]
    assert {error.__name__: error.exit_code for error in in_module()} == {name: shown[name] for name in shown if name}


def test_every_code_is_one_errors_own() -> None:
    codes = [error.code for error in in_module()]
    assert len(set(codes)) == len(codes), sorted(code for code in codes if codes.count(code) > 1)
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", code) for code in codes)


def test_codes_are_given_out_in_one_place() -> None:
    """What crosses from room to room stands in ``errors``; an error within one room adds a story, never a code."""
    names = {error.__name__ for error in in_module()}
    strangers = []
    for path in tree.modules():
        if path == tree.SRC / "errors.py":
            continue
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.ClassDef) and names & {ast.unparse(base).split(".")[-1] for base in node.bases}:
                assigned = {ast.unparse(part) for item in node.body for part in getattr(item, "targets", [])}
                strangers += [f"{tree.name(path)}: {node.name}"] if assigned & {"code", "exit_code"} else []
    assert strangers == []
