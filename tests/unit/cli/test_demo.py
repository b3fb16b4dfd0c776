"""The demo is a proof: a broken promise fails it, is named with the log to look at, and hides no figures."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpgrid.cli.demo import command
from corpgrid.cli.demo.report import Figures
from corpgrid.cli.demo.verdict import broken_promises, verdict
from corpgrid.cli.main import run
from corpgrid.domain.device import DeviceState

KEPT = {
    "tasks": 100,
    "accepted": 100,
    "wrong_accepted": 0,
    "lost_tasks": 0,
    "liar_quarantined": True,
    "yielded_within_s": 0.11,
}


def test_a_demo_that_keeps_its_promises_is_none_the_worse() -> None:
    assert broken_promises(KEPT) == []
    assert verdict(KEPT, Path("/demo")) is None


@pytest.mark.parametrize(
    ("figures", "story", "process"),
    [
        ({"wrong_accepted": 2}, "wrong results accepted: 2 of 100", "scheduler"),
        ({"lost_tasks": 3, "accepted": 97}, "tasks without a result: 3 of 100", "scheduler"),
        ({"liar_quarantined": False}, "the liar was not quarantined", "liar"),
        ({"yielded_within_s": 1.0}, "1.00 s after its plug was pulled, where less than 1 s is promised", "laptop"),
        ({"yielded_within_s": -1.0}, "the laptop was never unplugged", "laptop"),
    ],
)
def test_each_promise_is_told_with_the_log_to_look_at(figures: dict[str, Any], story: str, process: str) -> None:
    broken = verdict({**KEPT, **figures}, Path("/demo"))
    assert broken is not None
    assert broken.exit_code == 1
    assert story in str(broken)
    assert "\n" not in str(broken)
    assert broken.remedy == f"Look at /demo/{process}.log."


@given(
    wrong=st.integers(0, 100),
    lost=st.integers(0, 100),
    caught=st.booleans(),
    yielded=st.just(-1.0) | st.floats(0.0, 40.0),
)
def test_it_holds_only_if_every_promise_does(*, wrong: int, lost: int, caught: bool, yielded: float) -> None:
    summary = {**KEPT, "wrong_accepted": wrong, "lost_tasks": lost, "liar_quarantined": caught}
    broken = broken_promises({**summary, "yielded_within_s": yielded})
    assert len(broken) == (wrong > 0) + (lost > 0) + (not caught) + (not 0.0 <= yielded < 1.0)


class Office:
    """An office in which nobody works."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.address, self.key, self.devices = folder, "", "", {"dev_liar": "liar"}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Figures:
    """What the demo is going to find, without a grid: nothing at all."""
    row: Any = SimpleNamespace(
        tasks=2, executions=0, audits=0, mismatches=0, error_bound=1.0, created_at=0.0, finished_at=1.0
    )
    report: Any = SimpleNamespace(standing="nothing is known")
    items = [{"gamma": 0.1, "c": 1.0}, {"gamma": 0.2, "c": 1.0}]
    figures = Figures(items=items, results={}, row=row, report=report, names={}, devices=[], yielded_within_s=-1.0)
    monkeypatch.setattr(command, "Office", Office)
    monkeypatch.setattr(command, "connect", lambda *_, **__: nullcontext())
    monkeypatch.setattr(command, "_run", lambda *_: figures)
    monkeypatch.setattr(command, "truth_of", lambda _: [{**item, "accuracy": 0.5} for item in items])
    monkeypatch.setattr(command.tempfile, "mkdtemp", lambda **_: str(tmp_path / "demo"))
    (tmp_path / "demo").mkdir()
    return figures


def demo(tmp_path: Path, *options: str) -> int:
    with pytest.raises(SystemExit) as ended:
        raise SystemExit(run(["demo", "--picture", str(tmp_path / "map.png"), *options]))
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.mark.usefixtures("found")
def test_a_broken_promise_fails_the_command_after_its_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert demo(tmp_path, "--json") == 1
    printed = capsys.readouterr()
    (summary,) = printed.out.splitlines()
    assert json.loads(summary)["lost_tasks"] == 2
    (error,) = printed.err.splitlines()
    assert "tasks without a result: 2 of 2" in json.loads(error)["message"]
    assert str(tmp_path / "demo" / "scheduler.log") in json.loads(error)["remedy"]
    assert (tmp_path / "demo").is_dir(), "the logs are kept"

    assert demo(tmp_path) == 1
    *_, error, remedy = capsys.readouterr().err.splitlines()
    assert error.startswith("error: the demo broke its promise")
    assert remedy.startswith("  -> Look at")


def test_a_demo_that_shows_what_it_promises_ends_well(
    found: Figures, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    liar: Any = SimpleNamespace(id="dev_liar", state=DeviceState.QUARANTINED, completed=9)
    found.results = {index: {**item, "accuracy": 0.5} for index, item in enumerate(found.items)}
    found.names, found.devices, found.yielded_within_s = {"dev_liar": "liar"}, [liar], 0.1
    assert demo(tmp_path, "--json") == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["wrong_accepted"] == 0
    assert printed.err == ""
    assert not (tmp_path / "demo").exists()
