"""The simulator finds bugs: every mutant is caught, by the rule that it breaks."""

from __future__ import annotations

import pytest

from corpgrid.sim.report import simulate
from corpgrid.sim.scenarios import scenario
from tests.sim.mutants import MUTANTS, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_planted_bug_is_found(mutant: Mutant, monkeypatch):
    mutant.plant(monkeypatch)
    chosen = scenario(mutant.scenario, hours=mutant.hours, devices=mutant.devices, tasks=mutant.tasks)
    report = simulate(chosen, mutant.seed)
    found = [violation for violation in report.violations if violation.startswith(mutant.found_as)]
    assert found, f"{mutant.name} goes unnoticed in {mutant.scenario}, seed {mutant.seed}: {report.violations}"


def test_there_are_enough_of_them():
    assert len(MUTANTS) >= 20
