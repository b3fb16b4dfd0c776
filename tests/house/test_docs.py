"""The documentation is held to the code: links lead somewhere, snippets compile, made parts are fresh."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import click
import pytest

from corpgrid.cli.main import cli
from corpgrid.domain.job import Comparator
from corpgrid.sdk.jobfile import JobFile
from tests.house import reference
from tests.house.tree import DOCS, ROOT, files, name, pages

_LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?P<target>[^)\s]+)\)")
_IMAGE = re.compile(r"!\[[^\]]*\]\((?P<target>[^)\s]+)\)")
_FENCE = re.compile(r"^```(?P<language>\w*)[^\n]*\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
_COMMAND = re.compile(r"(?:^|`|``)corpgrid ([a-z]+)\b(?: ([a-z]+)\b(?!\.|/))?", re.MULTILINE)
_RECORD = re.compile(r"\d{4}-[a-z0-9-]+\.md")
_SECTIONS = ["Context", "Decision", "Consequences", "When to revisit"]

every_page = pytest.mark.parametrize("path", pages(), ids=name)
RECORDS = [path for path in sorted((DOCS / "adr").glob("*.md")) if _RECORD.fullmatch(path.name)]


def prose(path: Path) -> str:
    """A page without its code."""
    return re.sub(r"`[^`\n]+`", "", _FENCE.sub("", path.read_text(encoding="utf-8")))


def anchors(path: Path) -> set[str]:
    """The names under which a page's headings can be linked to."""
    titles = _HEADING.findall(_FENCE.sub("", path.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@every_page
def test_links_lead_somewhere(path: Path) -> None:
    text = prose(path)
    for match in (*_LINK.finditer(text), *_IMAGE.finditer(text)):
        target, _, anchor = match["target"].partition("#")
        if "://" in target or target.startswith("mailto:"):
            continue
        there = (path.parent / target).resolve() if target else path
        assert there.exists(), f"{name(path)}: {match[0]} leads nowhere"
        assert ROOT in there.parents, f"{name(path)}: {match[0]} leads out of the tree"
        if anchor and there.suffix == ".md":
            assert anchor in anchors(there), f"{name(path)}: {match[0]}: no such heading"


@every_page
def test_python_snippets_compile(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for match in _FENCE.finditer(text):
        if match["language"] == "python":
            line = text.count("\n", 0, match.start()) + 1
            compile("\n" * line + match["body"], name(path), "exec")


@every_page
def test_a_page_has_one_title(path: Path) -> None:
    titles = re.findall(r"^# .+$", _FENCE.sub("", path.read_text(encoding="utf-8")), re.MULTILINE)
    assert len(titles) == 1


def test_every_page_can_be_reached_from_the_index() -> None:
    """By links, from page to page."""
    reached, edge = set[Path](), {DOCS / "index.md"}
    while edge:
        reached |= edge
        targets = {
            (path.parent / match["target"].partition("#")[0]).resolve()
            for path in edge
            for match in _LINK.finditer(prose(path))
        }
        edge = {path for path in targets if path.suffix == ".md" and path.exists()} - reached
    lost = [name(path) for path in DOCS.rglob("*.md") if path not in reached and path.name != "template.md"]
    assert not lost, f"no link leads to {lost}"


@pytest.mark.parametrize("path", reference.pages(), ids=name)
def test_what_is_made_from_the_code_is_fresh(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert reference.fill(text) == text, f"{name(path)} is stale: run ./dev docs"


def test_every_command_that_is_named_exists() -> None:
    """In the pages, and in what errors tell people to do."""
    root = click.Context(cli)
    wrong = []
    for path in (page for page in files() if page.suffix in {".md", ".py"} and "tests" not in page.parts):
        for noun, verb in _COMMAND.findall(path.read_text(encoding="utf-8")):
            command = cli.get_command(root, noun) if noun in cli.list_commands(root) else None
            known = command is not None and (
                not isinstance(command, click.Group) or not verb or verb in command.commands
            )
            if not known:
                wrong.append(f"{name(path)}: corpgrid {noun} {verb}")
    assert wrong == []


def test_the_job_file_page_names_every_field() -> None:
    text = (DOCS / "reference" / "job-file.md").read_text(encoding="utf-8")
    names = {item.name for kind in (JobFile, Comparator) for item in fields(kind)} - {"folder"}
    assert sorted(name for name in names if f"| `{name}` |" not in text) == []


def test_everything_that_can_be_made_is_on_some_page() -> None:
    shown = "".join(path.read_text(encoding="utf-8") for path in reference.pages())
    assert [maker for maker in reference.MAKERS if f"made from the code: {maker} " not in shown] == []


def test_every_decision_is_in_the_index() -> None:
    index = (DOCS / "adr" / "README.md").read_text(encoding="utf-8")
    assert RECORDS
    assert re.findall(r"\]\((\d{4}-[^)]+)\)", index) == [path.name for path in RECORDS]
    assert [int(path.name[:4]) for path in RECORDS] == list(range(1, len(RECORDS) + 1))


@pytest.mark.parametrize("path", RECORDS, ids=name)
def test_a_decision_says_why_and_until_when(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert re.match(rf"# {path.name[:4]}\. \S", text)
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == _SECTIONS
    assert re.search(r"^Status: (accepted|planned|replaced by \[\d{4}\])", text, re.MULTILINE)
