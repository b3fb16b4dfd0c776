"""The simulator finds bugs: every mutant is caught, by the rule that it breaks."""

from __future__ import annotations

import pytest

from corpgrid.sim.report import simulate
from corpgrid.sim.scenarios import scenario
from tests.sim import more_mutants
from tests.sim.mutants import MUTANTS, Mutant

SEEDS_TRIED = 3
"""The first finds it; a change of the program may move the history in which it shows to one of the next."""


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_planted_bug_is_found(mutant: Mutant, monkeypatch):
    mutant.plant(monkeypatch)
    chosen = scenario(mutant.scenario, hours=mutant.hours, devices=mutant.devices, tasks=mutant.tasks)
    told = []
    for seed in range(mutant.seed, mutant.seed + SEEDS_TRIED):
        report = simulate(chosen, seed)
        if any(violation.startswith(mutant.found_as) for violation in report.violations):
            return
        told += report.violations
    pytest.fail(f"{mutant.name} goes unnoticed in {mutant.scenario} from seed {mutant.seed} on: {told}")


def test_there_are_enough_of_them():
    assert len(MUTANTS) >= 42
    assert more_mutants.__name__ in {mutant.plant.__module__ for mutant in MUTANTS}
