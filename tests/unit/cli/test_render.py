"""What commands print, character by character, in each style; the wanted output stands in tests/golden/cli."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpgrid.cli.device_commands import device_row
from corpgrid.cli.explanation import print_explanation
from corpgrid.cli.job_commands import job_row
from corpgrid.cli.render import Renderer, Style, shown, to_json
from corpgrid.domain.answers import Explanation, Obstacle
from corpgrid.domain.device import Device, Facts, Gpu, PowerStatus
from corpgrid.domain.ids import DeviceId, JobId, KeyId, OwnerId, SiteId
from corpgrid.domain.job import Counts, Job, JobState
from corpgrid.errors import JobFileError, LimitError
from tests.house.tree import ROOT

GOLDEN = ROOT / "tests" / "golden" / "cli"
COLUMNS = ("id", "name", "state", "tasks", "ended", "provisional", "failed")
JOBS = [
    Job(
        id=JobId("job_abcdefghijklmnop"),
        name="digits",
        submitter=KeyId("key_1"),
        tenant="default",
        priority=50,
        tasks=1_000,
        created_at=1_700_000_000.25,
        state=JobState.RUNNING,
        counts=Counts(ready=10, leased=2, provisional=700, final=288),
        executions=1_020,
        audits=90,
        mismatches=1,
        audit_rate=0.1,
        error_bound=0.0012345,
    ),
    Job(
        id=JobId("job_qrstuvwxyz234567"),
        name="a [bold]name[/] with :smile: and \x1b[31m",
        submitter=KeyId("key_1"),
        tenant="research",
        priority=7,
        tasks=2,
        created_at=1_700_000_000.0,
        finished_at=1_700_000_061.5,
        state=JobState.FAILED,
        counts=Counts(final=1, failed=1),
        executions=2,
        reason="1 of 2 tasks failed",
    ),
]
DEVICE = Device(
    id=DeviceId("dev_abcdefghijklmnop"),
    public_key=bytes(32),
    owner=OwnerId("ann"),
    site=SiteId("lab"),
    name="desktop",
    trusted=True,
    facts=Facts(
        hostname="desktop",
        python="3.11",
        sandbox="bubblewrap",
        cpus=8,
        memory_bytes=(16 << 30) + (512 << 20),
        disk_free_bytes=999,
        gpus=(Gpu(backend="cuda", name="a GPU"),),
        agent_version="0.1.0",
    ),
    capacity=8,
    last_seen=1_700_000_000.0,
)
WHY = Explanation(
    "of 4 tasks: none begun; 4 want a device (2 devices: 2 are paused)",
    (Obstacle("paused", 2, "is paused: lunch \x1b[5m", "`corpgrid device resume DEVICE` lets it take work again."),),
)


@pytest.fixture(autouse=True)
def at_greenwich(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Moments are local time."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def show(what: str, style: Style) -> None:
    renderer = Renderer(style)
    match what:
        case "jobs":
            renderer.rows([job_row(job) for job in JOBS], columns=COLUMNS, empty="no jobs")
        case "no-jobs":
            renderer.rows([], columns=COLUMNS, empty="no jobs yet")
        case "job":
            renderer.facts(job_row(JOBS[1]))
        case "device":
            renderer.facts(device_row(DEVICE))
        case "results":
            renderer.stream(({"index": i, "value": {"x": i, "y": [math.nan, b"\x01"]}} for i in range(2)), name="value")
        case "no-results":
            renderer.stream([], name="value")
        case "why":
            print_explanation(renderer, WHY)


@pytest.mark.parametrize("style", Style, ids=lambda style: style.value)
@pytest.mark.parametrize("what", ["jobs", "no-jobs", "job", "device", "results", "no-results", "why"])
def test_what_is_printed(what: str, style: Style, capsys: pytest.CaptureFixture[str]) -> None:
    show(what, style)
    printed = capsys.readouterr()
    assert printed.err == ""
    assert printed.out == (GOLDEN / f"{what}.{style.value}.txt").read_text(encoding="utf-8")
    if style is Style.JSON:
        json.loads(printed.out, parse_constant=lambda constant: pytest.fail(f"{constant} is no JSON"))


def test_no_golden_file_is_left_over() -> None:
    whats = ("jobs", "no-jobs", "job", "device", "results", "no-results", "why")
    assert {path.name for path in GOLDEN.iterdir()} == {
        f"{what}.{style.value}.txt" for what in whats for style in Style
    }


@pytest.mark.parametrize("style", Style, ids=lambda style: style.value)
def test_an_error_goes_to_standard_error(style: Style, capsys: pytest.CaptureFixture[str]) -> None:
    Renderer(style).error(JobFileError("job.toml: name is '\x1b[31m'", remedy="Correct it."))
    printed = capsys.readouterr()
    assert printed.out == ""
    if style is Style.JSON:
        assert json.loads(printed.err) == {
            "error": "job_file",
            "message": "job.toml: name is '\x1b[31m'",
            "remedy": "Correct it.",
            "exit": 2,
        }
    else:
        assert printed.err == "error: job.toml: name is '\\x1b[31m'\n  -> Correct it.\n"


def test_a_remark_is_for_people_only(capsys: pytest.CaptureFixture[str]) -> None:
    for style in Style:
        Renderer(style).line("a remark")
    assert capsys.readouterr().out == "a remark\n"


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("memory_bytes", 0, "0 B"),
        ("memory_bytes", 1023, "1023 B"),
        ("memory_bytes", 1 << 10, "1 KiB"),
        ("memory_bytes", 3 << 39, "1.5 TiB"),
        ("created_at", 1_700_000_000.9, "2023-11-14 22:13:20"),
        ("finished_at", 0.0, ""),
        ("last_seen", 1_700_000_000, "2023-11-14 22:13:20"),
        ("seconds", 0.123456789, "0.1235"),
        ("trusted", True, "yes"),
        ("trusted", False, "no"),
        ("files", ["a", "b"], "a, b"),
        ("counts", {"ready": 0, "final": 3}, "3 final"),
        ("reason", "two\nlines", "two\\x0alines"),
        ("reason", None, ""),
    ],
)
def test_values_for_people(name: str, value: Any, text: str) -> None:
    assert shown(name, value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (math.inf, "null"),
        ({"a": (1, math.nan)}, '{"a": [1, null]}'),
        (b"\x00\xff", '"00ff"'),
        (np.arange(4).reshape(2, 2), "[[0, 1], [2, 3]]"),
        (np.array([1.0, np.nan]), "[1.0, null]"),
        (np.float32(0.5), "0.5"),
        (1 + 2j, '"(1+2j)"'),
        ({1: "a", (2, 3): "b", b"c": None, 1.5: 0}, '{"1": "a", "[2, 3]": "b", "63": null, "1.5": 0}'),
        (2**80, "1208925819614629174706176"),
        ("\x1b[31m \u202e 你", r'"\u001b[31m \u202e \u4f60"'),
        ("\ud800", r'"\ud800"'),
    ],
)
def test_what_json_lacks(value: Any, text: str) -> None:
    assert to_json(value) == text


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.complex_numbers(),
    lambda inner: st.lists(inner) | st.tuples(inner) | st.dictionaries(st.text() | st.integers() | st.binary(), inner),
)


@given(values)
def test_any_result_is_valid_json_in_ascii_on_one_line(value: Any) -> None:
    text = to_json(value)
    assert text.isascii()
    assert text.isprintable()
    json.loads(text, parse_constant=lambda constant: pytest.fail(f"{constant} is no JSON"))


def test_what_speaks_against_a_device() -> None:
    assert device_row(DEVICE)["host"] == "allows work"
    assert device_row(replace(DEVICE, blockers=("owner_present", "too_warm")))["host"] == "owner_present, too_warm"
    assert device_row(replace(DEVICE, power=PowerStatus(on_ac_power=False, battery_percent=50.0)))["host"] == "battery"


def test_a_limit_error_keeps_its_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    Renderer(Style.TABLE).error(LimitError("job_tasks", limit=10, got=11, what="the job"))
    assert "the job is 11 where job_tasks allows 10" in capsys.readouterr().err
