"""What may not stand in the tree: work left undone, this machine, and exceptions without a reason."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.house.tree import ROOT, files, name

# Written in halves, so that this file keeps its own rules.
UNDONE = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|HA" + r"CK|NotImple" + r"mentedError)\b")
PACKAGE_INDEX = re.compile(r"https?://\S+/simp" + r"le\b|--(extra-)?index-" + r"url|--find-" + r"links", re.IGNORECASE)
SOMEBODYS_HOME = re.compile(r"/(?:ho" + r"me|Us" + r"ers)/[A-Za-z]")
NOQA = re.compile(r"#\s*(?:ruff: )?noqa\b(?::\s*(?P<rules>[A-Z]+\d+(?:,\s*[A-Z]+\d+)*))?(?P<reason>.*)")
REASON_MIN_CHARACTERS = 5


def lines(paths: list[Path]) -> list[tuple[str, str]]:
    """(place, line) of every line."""
    return [
        (f"{name(path)}:{number}", line)
        for path in paths
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
    ]


def places(pattern: re.Pattern[str], paths: list[Path]) -> list[str]:
    """Where it stands."""
    return [place for place, line in lines(paths) if pattern.search(line)]


def test_nothing_is_left_undone() -> None:
    assert not places(UNDONE, files())


def test_no_package_index_is_named() -> None:
    """Whoever installs decides where from."""
    assert not places(PACKAGE_INDEX, [path for path in files() if path.name != "LICENSE"])


def test_no_path_of_this_machine() -> None:
    """Nobody's home folder (tests of the sandbox make up some), and not the folder in which this checkout lies."""
    assert not places(SOMEBODYS_HOME, [path for path in files() if "tests" not in path.relative_to(ROOT).parts])
    if len(ROOT.parts) > 2:
        assert not places(re.compile(re.escape(str(ROOT)) + r"\b"), files())


def test_every_exception_to_a_lint_rule_names_it_and_says_why() -> None:
    """On its own line, or on the line before it for the same rule."""
    here = Path(__file__)
    bad, explained = [], ""
    for place, line in lines([path for path in files() if path.suffix == ".py" and path != here]):
        match = NOQA.search(line)
        if match is None:
            explained = ""
        elif match["rules"] and len(match["reason"].strip(" -#:;()")) >= REASON_MIN_CHARACTERS:
            explained = match["rules"]
        elif not match["rules"] or match["rules"] != explained:
            bad.append(f"{place}: {line.strip()}")
    assert not bad, "\n".join(bad)


@pytest.mark.parametrize(
    ("line", "bad"),
    [
        ("# TO" + "DO: later", True),
        ("raise NotImple" + "mentedError", True),
        ("all that is left to do", False),
        ("a shack", False),
    ],
)
def test_the_word_list_itself(line: str, *, bad: bool) -> None:
    assert bool(UNDONE.search(line)) == bad
