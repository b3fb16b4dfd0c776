"""The command line against a real grid, as a shell has it: what is printed where, and the exit status."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.system.company import wait_until
from tests.system.own_grid import Shell, grid_beside

pytestmark = [pytest.mark.system, pytest.mark.sandbox]

WORK = """
import time
from pathlib import Path

def evaluate(item):
    print("working on", item)
    Path("notes").mkdir()
    Path("notes/item.txt").write_text(str(item))
    if item == 2:
        raise ValueError("two is not \\x1b[31mallowed")
    return {"item": item, "nothing": float("nan")}

def wait(seconds):
    time.sleep(seconds)
"""
PYTHON = """
name = "evaluations"
entry = "work:evaluate"
files = ["work.py"]
limits.max_attempts = 1
items.range = [4]
"""
WAITS = 'entry = "work:wait"\nfiles = ["*.py"]\n[items]\nlist = [1000.0, 1000.0]\n'
SCRIPT = '#!/bin/sh\necho "got $1 and $2"\n[ "$1" != json ] || echo \'{"answer": 42}\' > result.json\n'
COMMAND = """
command = ["sh", "run.sh", "{what}", "{number}"]
files = ["run.sh"]
items.grid = {what = ["text", "json"], number = [7]}
"""


@pytest.fixture(scope="module")
def shell() -> Iterator[Shell]:
    with grid_beside() as shell:
        for name, text in {
            "work.py": WORK,
            "python.toml": PYTHON,
            "waits.toml": WAITS,
            "run.sh": SCRIPT,
            "command.toml": COMMAND,
        }.items():
            (shell.folder / name).write_text(text)
        yield shell


@pytest.fixture(scope="module")
def ended(shell: Shell) -> str:
    """A job of Python files, one of whose tasks failed."""
    done = shell.run("job", "submit", "python.toml", "--watch", "--quiet", cwd=shell.folder)
    assert done.returncode == 1
    assert done.stderr.startswith("error: 1 of 4 tasks of job job_")
    return done.stdout.strip()


@pytest.fixture(scope="module")
def device(shell: Shell) -> str:
    """The id of the only device."""
    found: list[Any] = []

    def registered() -> bool:
        found[:] = shell.json("device", "list")
        return bool(found)

    wait_until(registered, "the agent registers")
    assert len(found) == 1
    return str(found[0]["id"])


class TestJobs:
    def test_submitted_and_followed(self, shell: Shell) -> None:
        row = shell.json("job", "submit", str(shell.folder / "command.toml"), "--watch")
        assert (row["name"], row["state"], row["tasks"], row["ended"]) == ("command", "done", 2, 2)
        results = {entry["index"]: entry["value"] for entry in shell.json("job", "results", row["id"])}
        assert results == {0: {"exit_code": 0, "stdout": "got text and 7\n"}, 1: {"answer": 42}}

    def test_listed_and_shown(self, shell: Shell, ended: str) -> None:
        rows = shell.json("job", "list")
        (row,) = [row for row in rows if row["id"] == ended]
        assert (row["name"], row["state"], row["tasks"], row["failed"]) == ("evaluations", "failed", 4, 1)
        assert shell.json("job", "show", ended)["failed_tasks"] == ["2 (raised)"]
        assert shell.text("job", "list", "--limit", "1", "--quiet").count("\n") == 1
        header, *lines = shell.text("job", "list").splitlines()
        assert header.split() == ["id", "name", "state", "tasks", "ended", "provisional", "failed"]
        assert len(lines) == len(rows)

    def test_results_as_lines_as_an_array_and_as_values(self, shell: Shell, ended: str) -> None:
        lines = [json.loads(line) for line in shell.text("job", "results", ended, status=1).splitlines()]
        assert lines == shell.json("job", "results", ended, status=1)
        values = {line["index"]: line.get("value") for line in lines}
        assert values == {i: None if i == 2 else {"item": i, "nothing": None} for i in range(4)}
        (failed,) = [line for line in lines if "error" in line]
        assert (failed["state"], failed["error"]["reason"]) == ("failed", "raised")
        quiet = shell.text("job", "results", ended, "--quiet", status=1).splitlines()
        assert [json.loads(line) for line in quiet] == [line["value"] for line in lines if "value" in line]

    def test_outputs_are_saved(self, shell: Shell, ended: str, tmp_path: Path) -> None:
        entries = shell.json("job", "results", ended, "--outputs", str(tmp_path / "out"), status=1)
        for entry in entries:
            path = tmp_path / "out" / str(entry["index"]) / "notes" / "item.txt"
            assert [file["path"] for file in entry["outputs"]] == [str(path)]
            assert path.read_text() == str(entry["index"])
        (tmp_path / "taken").touch()
        shell.error("job", "results", ended, "--outputs", str(tmp_path / "taken"), status=2)

    def test_logs(self, shell: Shell, ended: str) -> None:
        (entry,) = shell.json("job", "logs", ended, "2")
        assert (entry["log"], entry["reason"]) == ("working on 2\n", "raised")
        told = shell.text("job", "logs", ended, "2")
        assert "two is not \\x1b[31mallowed" in told
        assert "\x1b" not in told
        assert shell.text("job", "logs", ended, "0", "--quiet") == "working on 0\n"
        assert shell.error("job", "logs", ended, "4", status=4)["error"] == "not_found"

    def test_why_and_report(self, shell: Shell, ended: str) -> None:
        assert "it has ended (failed)" in shell.json("job", "why", ended)["summary"]
        report = shell.json("job", "report", ended)
        assert report["mode"] == "audit"
        assert any(line.startswith("job.submitted") for line in report["story"])
        assert "3 of 4 results are final" in shell.text("job", "report", ended)

    def test_cancelled(self, shell: Shell) -> None:
        job = shell.text("job", "submit", str(shell.folder / "waits.toml"), "--quiet").strip()
        assert shell.json("job", "cancel", job, "--reason", "enough")["state"] == "cancelled"
        done = shell.run("job", "results", job, "--json")
        assert done.returncode == 1
        assert {entry["error"]["code"] for entry in json.loads(done.stdout)} == {"job_cancelled"}
        assert json.loads(done.stderr)["error"] == "job_cancelled"

    def test_an_interrupted_watcher_leaves_the_job(self, shell: Shell) -> None:
        job = shell.text("job", "submit", str(shell.folder / "waits.toml"), "--quiet").strip()
        watcher = shell.start("job", "watch", job)
        assert watcher.stderr is not None
        assert watcher.stderr.readline().startswith(f"{job}: 0/2 final")
        watcher.send_signal(signal.SIGINT)
        out, err = watcher.communicate(timeout=30)
        assert watcher.returncode == 130
        assert out == ""
        assert f"{job} goes on" in err
        assert "Traceback" not in err
        assert shell.json("job", "show", job)["state"] == "running"
        shell.text("job", "cancel", job)

    def test_a_reader_that_has_seen_enough(self, shell: Shell, ended: str) -> None:
        results = shell.start("job", "results", ended)
        assert results.stdout is not None
        results.stdout.close()
        assert results.stderr is not None
        assert results.wait(30) in {0, 1}
        assert "Traceback" not in results.stderr.read()
        results.stderr.close()


class TestDevices:
    def test_listed_and_shown(self, shell: Shell, device: str) -> None:
        (row,) = shell.json("device", "list")
        assert shell.json("device", "show", device).keys() == row.keys()
        assert (row["state"], row["host"], row["sandbox"]) == ("active", "allows work", "bubblewrap")
        assert shell.text("device", "list", "--quiet").strip() == device

    def test_paused_asked_why_and_resumed(self, shell: Shell, device: str) -> None:
        row = shell.json("device", "pause", device, "--reason", "lunch")
        assert (row["state"], row["reason"]) == ("paused", "lunch")
        try:
            assert "lunch" in shell.json("device", "why", device)["summary"]
            job = shell.text("job", "submit", str(shell.folder / "command.toml"), "--quiet").strip()
            (obstacle,) = shell.json("job", "why", job)["obstacles"]
            assert (obstacle["reason"], obstacle["devices"]) == ("paused", 1)
            assert "corpgrid device resume" in obstacle["remedy"]
        finally:
            assert shell.json("device", "resume", device)["state"] == "active"
        assert shell.json("job", "watch", job)["state"] == "done"

    def test_what_there_is_not(self, shell: Shell) -> None:
        assert shell.error("device", "show", "dev_none", status=4)["error"] == "not_found"


class TestBundles:
    def test_built_verified_and_damaged(self, shell: Shell, tmp_path: Path) -> None:
        bundle = tmp_path / "work.bundle"
        built = shell.json("bundle", "build", str(shell.folder / "python.toml"), "-o", str(bundle))
        verified = shell.json("bundle", "verify", str(bundle))
        assert verified["digest"] == built["digest"]
        assert verified["entry"] == {"kind": "module", "module": "work", "name": "evaluate"}
        assert verified["files"] == ["work.py"]
        content = bundle.read_bytes()
        for place in (0, len(content) // 2, len(content) - 1):
            damaged = tmp_path / f"{place}.bundle"
            damaged.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
            assert shell.error("bundle", "verify", str(damaged), status=3)["message"]
        assert shell.error("bundle", "verify", str(tmp_path / "none"), status=2)["error"] == "bundle"

    def test_of_somebody_else(self, shell: Shell, tmp_path: Path) -> None:
        key, bundle = tmp_path / "keys" / "mine.pem", tmp_path / "work.bundle"
        key.parent.mkdir()
        shell.text("key", "new", str(key))
        shell.text("bundle", "build", str(shell.folder / "python.toml"), "-o", str(bundle), "--key", str(key))
        assert shell.error("bundle", "verify", str(bundle), status=3)["error"] == "untrusted_key"
        key.unlink()
        assert shell.json("bundle", "verify", str(bundle), "--trusted", str(key.parent))["files"] == ["work.py"]


class TestKeys:
    def test_made_shown_and_never_overwritten(self, shell: Shell, tmp_path: Path) -> None:
        made = shell.json("key", "new", str(tmp_path / "mine.pem"))
        assert Path(made["private"]).stat().st_mode & 0o777 == 0o600
        assert b"PUBLIC" in Path(made["public"]).read_bytes()
        assert shell.json("key", "show", str(tmp_path / "mine.pem"))["id"] == made["id"]
        assert shell.error("key", "new", str(tmp_path / "mine.pem"), status=4)["error"] == "conflict"
        refused = shell.error("job", "submit", str(shell.folder / "python.toml"), "--key", made["private"], status=3)
        assert refused["error"] == "untrusted_key"
        (tmp_path / "mine.pem").chmod(0o644)
        assert "chmod" in shell.error("key", "show", str(tmp_path / "mine.pem"), status=3)["remedy"]


class TestWrong:
    @pytest.mark.parametrize(
        ("text", "error", "said"),
        [
            ("entry = 'work:evaluate'\nfile = ['work.py']\n", "job_file", "there is no field file; there are"),
            ("entry = 'work:evalute'\nfiles = ['work.py']\n", "job_file", "entry: work.py has no evalute"),
            ("entry = 'wrok:evaluate'\nfiles = ['work.py']\n", "job_file", "there is no wrok.py among the files"),
            ("entry = 'work:evaluate'\nfiles = ['none.py']\n", "bundle", "files: 'none.py' matches nothing"),
            ("entry = 'work:evaluate'\nfiles = ['large.bin']\n", "bundle", "the bundle is too large"),
            ("command = ['sh', '{what}']\n", "job_file", "command has {what}, and the items have no such field"),
            ("command = ['sh']\npackages = ['./none-1-py3-none-any.whl']\n", "bundle", "packages: pip could not"),
            ("command = ['sh']\nrequirements.engine = 'wasm'\n", "usage", "requirements.engine is wasm"),
            ("command = ['sh']\nlimits.wall_seconds = -1\n", "job_file", "limits.wall_seconds is -1"),
        ],
    )
    def test_a_wrong_job_file_is_told_before_anything_is_sent(
        self, shell: Shell, tmp_path: Path, text: str, error: str, said: str
    ) -> None:
        (tmp_path / "work.py").write_text(WORK)
        with (tmp_path / "large.bin").open("wb") as file:
            file.truncate(300 << 20)
        (tmp_path / "wrong.toml").write_text(f"{text}items.range = [1]\n")
        told = shell.error("job", "submit", str(tmp_path / "wrong.toml"), status=2)
        assert (told["error"], bool(told["remedy"])) == (error, True)
        assert said in told["message"]


class TestDoctor:
    def test_what_works_here(self, shell: Shell) -> None:
        rows = shell.json("doctor")
        assert {row["state"] for row in rows} == {"ok"}
        assert {"sandbox network", "power", "submitter key", "grid"} <= {row["check"] for row in rows}

    def test_what_does_not(self, shell: Shell, tmp_path: Path) -> None:
        done = shell.run("doctor", "--key", str(tmp_path / "none.pem"), "--address", f"unix:{tmp_path}/none.sock")
        assert done.returncode == 0, "this machine could still run jobs"
        assert "corpgrid key new" in done.stdout
        assert "corpgrid up" in done.stdout

    def test_settings_and_their_sources(self, shell: Shell) -> None:
        rows = {row["name"]: row for row in shell.json("doctor", "--settings")}
        assert rows["client.address"]["source"] == "environment"
        assert rows["client.timeout_seconds"]["source"] == "default"


def test_up_tells_people_how_to_reach_it(tmp_path: Path) -> None:
    """And ends well when it is interrupted."""
    with subprocess.Popen(
        [sys.executable, "-m", "corpgrid", "up", "--temporary"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
        cwd=tmp_path,
    ) as process:
        assert process.stdout is not None
        first, second = process.stdout.readline(), process.stdout.readline()
        assert first.startswith("the grid is up at unix:/")
        folder = Path(first.split("unix:")[1].strip()).parents[1]
        assert second.strip().startswith("export CORPGRID_CLIENT_ADDRESS=unix:")
        assert str(folder / "keys" / "submitter.pem") in second
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(30) == 0
    assert not folder.exists()
