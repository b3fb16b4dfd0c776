"""The command engine: what becomes of argv, output, exit status and what a command leaves behind."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from corpgrid.wire import data
from tests.unit.runner.driver import PlainRunner, mark


def test_what_it_prints_is_its_result_and_its_log(runner: PlainRunner):
    runner.load_command("sh", "-c", "echo out; echo err >&2")
    assert runner.result(1) == {"exit_code": 0, "stdout": "out\n"}
    assert sorted(runner.log.removesuffix(mark(0)).splitlines()) == [b"err", b"out"]


@pytest.mark.parametrize(
    ("argument", "value", "filled"),
    [
        ("{item}", 7, "7"),
        ("{item}", "seven", "seven"),
        ("{item}", [1, "a", None, True], '[1, "a", null, true]'),
        ("{item}", {"a": 1}, '{"a": 1}'),
        ("--lr={lr}", {"lr": 0.5}, "--lr=0.5"),
        ("{a}{b}{a}", {"a": "x", "b": 2}, "x2x"),
        ("{item}", {"item": "its own"}, "its own"),
        ("{{lr}}", {"lr": 1}, "{lr}"),
        ("{print $1} {} { lr }", {"lr": 1}, "{print $1} {} { lr }"),
        ("{a}", {"a": "$(reboot); {b}"}, "$(reboot); {b}"),
    ],
)
def test_placeholders_are_filled_once_and_by_no_shell(runner: PlainRunner, argument: str, value: Any, filled: str):
    runner.load_command("printf", "%s", argument)
    assert runner.result(value) == {"exit_code": 0, "stdout": filled}


@pytest.mark.parametrize(
    ("argument", "value", "told"),
    [
        ("{absent}", {"lr": 1}, "no field 'absent'"),
        ("{lr}", 5, "no field 'lr'"),
        ("{lr}", {"lr": b"x"}, "no place on a command line"),
        ("{item}", np.arange(2), "argument|there is an array"),
        ("{lr}", {"lr": float("nan")}, "no place on a command line"),
    ],
)
def test_a_placeholder_that_cannot_be_filled_fails_its_task(runner: PlainRunner, argument: str, value: Any, told: str):
    runner.load_command("echo", argument)
    (done,) = runner.run(value)
    assert done.reason == "argument"
    assert any(part in done.detail or part == done.reason for part in told.split("|"))


def test_an_argument_that_names_a_file_of_the_bundle_becomes_its_path(runner: PlainRunner):
    (runner.job / "scripts").mkdir()
    (runner.job / "scripts" / "run.sh").write_text('echo "$0 $1 $2"')
    runner.load_command("sh", "scripts/run.sh", "scripts", "../job/scripts/run.sh")
    stdout = runner.result(0)["stdout"]
    assert stdout == f"{runner.job}/scripts/run.sh scripts ../job/scripts/run.sh\n"


def test_a_program_of_the_bundle_can_be_run(runner: PlainRunner):
    (runner.job / "tool").write_text("#!/bin/sh\npwd")
    (runner.job / "tool").chmod(0o755)
    runner.load_command("tool")
    assert runner.result(0)["stdout"] == f"{runner.work}/out\n"


def test_an_exit_status_fails_its_task_with_the_end_of_stderr(runner: PlainRunner):
    runner.load_command("sh", "-c", "seq 100000 >&2; echo the reason >&2; exit 3")
    (done,) = runner.run(1)
    assert (done.ok, done.reason) == (False, "exit_code")
    assert done.detail.endswith("99999\n100000\nthe reason\n\nthe command ended with exit status 3")
    assert len(done.detail) < 10_000


def test_a_signal_fails_its_task(runner: PlainRunner):
    runner.load_command("sh", "-c", "kill -SEGV $$")
    (done,) = runner.run(1)
    assert done.reason == "signal"
    assert "SIGSEGV" in done.detail


def test_a_command_that_is_not_there_fails_its_task(runner: PlainRunner):
    runner.load_command("no-such-command", "{item}")
    (done,) = runner.run(1)
    assert done.reason == "command"
    assert "'no-such-command' cannot be started" in done.detail


def test_a_result_file_is_the_result_and_no_output(runner: PlainRunner):
    runner.load_command("sh", "-c", 'echo "$0" > result.json; echo chatter', "{item}")
    done = runner.run('{"loss": 0.5, "epochs": [1, 2]}', "null")
    assert [data.decode(d.payload) for d in done] == [{"loss": 0.5, "epochs": [1, 2]}, None]
    assert [d.has_outputs for d in done] == [False, False]


def write_result(runner: PlainRunner) -> None:
    runner.load_command("sh", "-c", 'printf %s "$0" > result.json; touch other', "{item}", result_bytes=1000)


def test_a_result_file_is_taken_away_and_the_rest_stays(runner: PlainRunner):
    write_result(runner)
    done = runner.run('{"loss": 0.5, "epochs": [1, 2]}', "null")
    assert [data.decode(d.payload) for d in done] == [{"loss": 0.5, "epochs": [1, 2]}, None]
    assert [path.name for path in (runner.work / "task-0-0").iterdir()] == ["other"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "not_data"),
        ("{", "not_data"),
        ('{"a": 1, "a": 2}', "not_data"),
        ('{"a": NaN}', "not_data"),
        ("[-Infinity]", "not_data"),
        ("[" * 400 + "]" * 400, "not_data"),
        ("1" * 999, "ok"),
        ("[" * 60 + "]" * 60, "ok"),
        ('"' + "x" * 2000 + '"', "result_bytes"),
    ],
)
def test_a_result_file_is_read_strictly(runner: PlainRunner, content: str, reason: str):
    write_result(runner)
    (done,) = runner.run(content)
    assert (done.reason or "ok") == reason


def test_absurd_result_files_are_refused(runner: PlainRunner):
    runner.load_command("sh", "-c", 'head -c 2000000 /dev/zero | tr "\\0" "$0" > result.json', "{item}")
    done = runner.run("[", "1")
    assert [d.reason for d in done] == ["not_data", "not_data"]


@pytest.mark.parametrize("made", ["ln -s /etc/passwd", "mkdir", "mkfifo"])
def test_a_result_file_that_is_no_file_is_refused(runner: PlainRunner, made: str):
    runner.load_command("sh", "-c", f"{made} result.json")
    (done,) = runner.run(1)
    assert done.reason == "not_data"


def test_more_output_than_result_bytes_is_refused_but_drained(runner: PlainRunner):
    runner.load_command("sh", "-c", "head -c $0 /dev/zero | tr '\\0' x", "{item}", result_bytes=10_000)
    big, small = runner.run(5_000_000, 5)
    assert big.reason == "result_bytes"
    assert data.decode(small.payload)["stdout"] == "xxxxx"
    assert len(runner.log) > 5_000_000


def test_output_that_is_no_text_is_replaced(runner: PlainRunner):
    runner.load_command("printf", "\\377ok")
    assert runner.result(0)["stdout"] == "\ufffdok"


def test_what_it_leaves_running_is_ended(runner: PlainRunner, tmp_path: Path):
    runner.load_command("sh", "-c", "sleep 600 & echo $!")
    started = time.monotonic()
    pid = int(runner.result(1)["stdout"])
    assert time.monotonic() - started < 5
    stat = Path(f"/proc/{pid}/stat")
    deadline = time.monotonic() + 5
    while stat.exists() and stat.read_text().split()[2] != "Z" and time.monotonic() < deadline:
        time.sleep(0.005)
    assert not stat.exists() or stat.read_text().split()[2] == "Z"


def test_what_leaves_its_group_is_not_waited_for(runner: PlainRunner):
    runner.load_command("sh", "-c", "setsid sleep 20 & echo done")
    started = time.monotonic()
    assert runner.result(1)["stdout"] == "done\n"
    assert time.monotonic() - started < 5


def test_it_knows_its_task(runner: PlainRunner):
    runner.load_command("sh", "-c", "echo $CORPGRID_TASK_INDEX $CORPGRID_ATTEMPT")
    done = runner.run(0, 0, attempt=5)
    assert [data.decode(d.payload)["stdout"] for d in done] == ["0 5\n", "1 5\n"]
