"""The state charts in the documentation are the charts that the code enforces, arrow by arrow."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple, TypeVar

import pytest

from corpgrid.domain.attempt import ATTEMPT_MOVES, AttemptState
from corpgrid.domain.device import DEVICE_MOVES, DeviceState
from corpgrid.domain.job import TASK_MOVES, TaskState
from tests.house.tree import DOCS

PAGE = DOCS / "explanation" / "states.md"

_CHART = re.compile(
    r"^## (?P<title>\w+)\n.*?^```mermaid\nstateDiagram-v2\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL
)
_ARROW = re.compile(r"^\s*(?P<old>\[\*\]|\w+) --> (?P<new>\[\*\]|\w+)(?:: .+)?$")

_State = TypeVar("_State", bound=StrEnum)


class Chart(NamedTuple):
    """A chart of the code, by the states' values."""

    states: frozenset[str]
    moves: dict[str, frozenset[str]]
    first: str


def chart(first: _State, moves: Mapping[_State, frozenset[_State]]) -> Chart:
    """The chart that starts at ``first``."""
    values = {old.value: frozenset(new.value for new in news) for old, news in moves.items()}
    return Chart(states=frozenset(state.value for state in type(first)), moves=values, first=first.value)


CHARTS = {
    "Task": chart(TaskState.READY, TASK_MOVES),
    "Attempt": chart(AttemptState.LEASED, ATTEMPT_MOVES),
    "Device": chart(DeviceState.PENDING, DEVICE_MOVES),
}


def arrows(title: str) -> list[tuple[str, str]]:
    """The arrows under a heading, in the order they are drawn."""
    charts = {match["title"]: match["body"] for match in _CHART.finditer(PAGE.read_text(encoding="utf-8"))}
    found = []
    for line in charts[title].splitlines():
        match = _ARROW.match(line)
        assert match or not line.strip() or line.strip().startswith("%%"), f"not an arrow: {line!r}"
        if match:
            found.append((match["old"], match["new"]))
    return found


@pytest.mark.parametrize("title", CHARTS)
def test_the_chart_is_the_code(title: str) -> None:
    _, moves, first = CHARTS[title]
    wanted = {(old, new) for old, news in moves.items() for new in news}
    wanted |= {(old, "[*]") for old, news in moves.items() if not news} | {("[*]", first)}
    shown = arrows(title)
    assert set(shown) == wanted
    assert len(set(shown)) == len(shown), "an arrow is drawn twice"


@pytest.mark.parametrize("title", CHARTS)
def test_every_state_has_its_moves_and_can_be_reached(title: str) -> None:
    states, moves, first = CHARTS[title]
    assert set(moves) == states
    reached, edge = {first}, {first}
    while edge:
        edge = {new for old in edge for new in moves[old]} - reached
        reached |= edge
    assert reached == states


@pytest.mark.parametrize("title", CHARTS)
def test_every_state_is_explained(title: str) -> None:
    """Under its chart, in a table."""
    section = PAGE.read_text(encoding="utf-8").split(f"\n## {title}\n")[1].split("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == CHARTS[title].states
