"""``corpgrid sim``: one object last, and a violation tells how to see it again."""

from __future__ import annotations

import json

from click.testing import CliRunner

from corpgrid.cli.main import cli
from corpgrid.domain import admin
from corpgrid.sim.scenarios import NAMES

SMALL = ["--hours", "0.05", "--devices", "4", "--tasks", "30"]


def test_json_comes_last():
    done = CliRunner().invoke(cli, ["sim", "--scenario", "calm", *SMALL, "--json"])
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout.splitlines()[-1])
    assert facts["tasks"] == 30
    assert facts["violations"] == []


def test_a_violation_says_how_to_see_it_again(monkeypatch):
    monkeypatch.setattr(admin, "initial_copies", lambda _policy: 2)
    sizes = [*SMALL, "--schedulers", "2", "--wire"]
    done = CliRunner().invoke(cli, ["sim", "--scenario", "calm", "--seed", "3", *sizes, "--json"])
    assert done.exit_code == 1
    assert json.loads(done.stdout.splitlines()[-1])["violations"]
    assert "VIOLATION V1" in done.stderr
    assert done.stderr.splitlines()[-1] == (
        "play it again: corpgrid sim --scenario calm --seed 3 --hours 0.05 --devices 4 --tasks 30 --schedulers 2 --wire"
    )


def test_the_command_offers_every_scenario():
    done = CliRunner().invoke(cli, ["sim", "--help"])
    assert all(name in done.output for name in NAMES)
