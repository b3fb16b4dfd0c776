"""The measuring commands: each prints what it promises beside its figures, and refuses what cannot be measured."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpgrid.cli.bench import facts, peers, postgres
from corpgrid.cli.bench.peers import Figures, Peer, against, measure_peers, peers_latency, singles_per_s
from corpgrid.cli.bench.trace import PHASES, Trace, breakdown
from corpgrid.cli.main import run
from corpgrid.domain.ids import JobId
from corpgrid.errors import NotFoundError, UsageError

MACHINE = {"load_average", "cpus", "model", "memory_bytes", "python", "version", "commit"}
STAND_IN = """
import argparse, json
from corpgrid.cli.bench.peer_run import arguments, report
report(arguments("A stand-in.").parse_args(), range, lambda item: item)
"""


def printed(capsys: pytest.CaptureFixture[str], *command: str) -> dict[str, Any]:
    """What a command prints last, as JSON."""
    assert run(["bench", *command, "--json"]) == 0
    told: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return told


def test_placement(capsys: pytest.CaptureFixture[str]) -> None:
    told = printed(capsys, "placement", "--devices", "30,100", "--sets", "1,5", "--tasks", "20", "--rounds", "2")
    assert told.keys() >= {"match_ms", "measured", "tasks", "rounds"} | MACHINE
    assert [(row["devices"], row["sets"]) for row in told["measured"]] == [(30, 1), (30, 5), (100, 1), (100, 5)]
    assert all(row["placed"] == 20 and row["match_ms"] > 0 for row in told["measured"])


def test_blobs(capsys: pytest.CaptureFixture[str]) -> None:
    told = printed(capsys, "blobs", "--sizes", "1,4096,1100000", "--rounds", "2")
    assert told.keys() >= {"put_mb_per_s", "get_mb_per_s", "store", "durable"} | MACHINE
    assert [row["size_bytes"] for row in told["measured"]] == [1, 4096, 1_100_000]
    for row in told["measured"]:
        assert row["put_to_write"] >= 0
        assert row.keys() >= {"write_mb_per_s", "read_mb_per_s", "get_to_read"}


@pytest.mark.parametrize(
    ("command", "story"),
    [
        (("placement", "--devices", "10,many"), "no list of whole numbers"),
        (("placement", "--devices", ""), "no list of whole numbers"),
        (("queue", "--queued=-1"), "a number below 0"),
        (("dispatch", "--dsn", "postgresql://db/x"), "--store postgres"),
        (("dispatch", "--tasks", "0"), "--tasks"),
        (("latency", "--store", "files"), "--store"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    command: tuple[str, ...], story: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["bench", *command]) == 2
    assert story in capsys.readouterr().err


def test_an_unknown_peer_is_refused_before_anything_starts(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(["bench", "dispatch", "--peers", "dask,abacus"])
    assert ended.value.code == UsageError.exit_code
    said = capsys.readouterr().err
    assert "abacus" in said
    assert "--peers dask,ray" in said


def test_a_machine_without_postgres_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(NotFoundError) as refused, postgres.development_server(tmp_path / "server"):
        pass
    assert "--dsn" in refused.value.remedy
    assert "./dev bench" in refused.value.remedy


def test_the_machine_is_told_with_its_commit() -> None:
    told = facts.machine_facts()
    assert told.keys() == MACHINE
    assert told["cpus"] >= 1
    assert told["python"] == sys.version.split()[0]


@given(st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=50))
def test_percentiles_lie_in_order_within_what_was_measured(seconds: list[float]) -> None:
    told = facts.latency_facts(seconds)
    low, high = facts.milliseconds(min(seconds)), facts.milliseconds(max(seconds))
    assert low - 1e-3 <= told["p50_ms"] <= told["p90_ms"] <= told["p99_ms"] <= high + 1e-3


# -- peers


def test_a_peer_that_is_not_installed_is_told_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "PEERS", {"abacus": (Peer("abacus", "corpgrid_abacus", ("corpgrid_abacus",)),)})
    told = against(measure_peers(["abacus"], tasks=1, singles=1, runs=1), tasks_per_s=100.0)
    assert told["peers"] == {}
    assert told["ratio_to_best_peer"] is None
    assert "./dev bench" in told["peers_missing"]["abacus"]


def test_a_peer_is_measured_in_a_program_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "stand_in_peer.py").write_text(STAND_IN)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(peers, "PEERS", {"stand-in": (Peer("stand-in", "stand_in_peer", ("stand_in_peer",)),)})
    found = measure_peers(["stand-in"], tasks=10, singles=3, runs=2)["stand-in"]
    assert not found.missing
    assert len(found.rates) == 2
    assert len(found.singles) == 3


def test_a_peer_that_fails_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "broken_peer.py").write_text("raise SystemExit('no abacus here')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(peers, "PEERS", {"broken": (Peer("broken", "broken_peer", ("broken_peer",)),)})
    assert "no abacus here" in measure_peers(["broken"], tasks=1, singles=1, runs=1)["broken"].missing


def test_a_peer_ends_with_whoever_asked(tmp_path: Path) -> None:
    program = STAND_IN.replace("lambda item: item", "lambda item: __import__('time').sleep(60)")
    (tmp_path / "endless.py").write_text(program)
    sizes = ("--tasks=1", "--singles=1", "--runs=1", "--workers=1")
    with subprocess.Popen([sys.executable, str(tmp_path / "endless.py"), *sizes], stdin=subprocess.PIPE) as peer:
        assert peer.stdin is not None
        peer.stdin.close()
        assert peer.wait(30) != 0


def test_the_ratio_is_to_the_best_run_of_the_best_peer() -> None:
    told = against({"slow": Figures((10.0, 20.0)), "fast": Figures((50.0, 40.0))}, tasks_per_s=500.0)
    assert told["peers"] == {"slow": 20, "fast": 50}
    assert told["ratio_to_best_peer"] == 10.0
    assert against({}, tasks_per_s=500.0) == {}


def test_single_tasks_of_peers_are_compared_by_their_mean() -> None:
    found = {"one": Figures(singles=(0.1, 0.3)), "none": Figures(missing="not here")}
    assert singles_per_s(found)["one"].rates == pytest.approx((5.0,))
    assert peers_latency(found).keys() == {"peers_latency"}
    assert peers_latency(found)["peers_latency"]["one"]["p50_ms"] == 200.0


# -- where the milliseconds go


def test_the_phases_of_a_task_are_its_whole_way(tmp_path: Path) -> None:
    names = [start for start, _ in PHASES.values()] + [[end for _, end in PHASES.values()][-1]]
    client, others = Trace(), Trace()
    for place, name in enumerate(names):
        (client if name in {"called", "sent", "read"} else others).note(name, [JobId("job_1")], at=0.001 * place**2)
    others.note("runner_seconds", [JobId("job_1")], at=0.0005)
    others.save(tmp_path)
    client.add(tmp_path)
    told = breakdown(client, [JobId("job_1")])
    assert sum(told[name] for name in PHASES) == pytest.approx(told["whole_ms"])
    assert told["runner_ms"] == 0.5


def test_the_first_moment_of_a_name_counts() -> None:
    trace = Trace()
    trace.note("granted", [JobId("job_1")], at=1.0)
    trace.note("granted", [JobId("job_1")], at=2.0)
    assert trace.moments[JobId("job_1")] == {"granted": 1.0}
