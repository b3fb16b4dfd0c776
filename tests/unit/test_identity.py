"""Which grid a scheduler belongs to: what is set, and what its folder remembers, never disagree."""

from __future__ import annotations

from pathlib import Path

import pytest

from corpgrid.compose import identity
from corpgrid.config import SchedulerConfig
from corpgrid.errors import ConfigError


def settings(folder: Path, grid: str = "") -> SchedulerConfig:
    return SchedulerConfig(folder=folder, grid=grid)


def test_a_new_folder_knows_no_grid_and_then_always_the_same(tmp_path: Path) -> None:
    assert identity.remembered(settings(tmp_path)) == ""
    grid = identity.of_folder(settings(tmp_path))
    assert len(grid) == 32
    assert identity.of_folder(settings(tmp_path)) == identity.remembered(settings(tmp_path, grid)) == grid


def test_the_name_that_is_set_is_the_one(tmp_path: Path) -> None:
    assert identity.of_folder(settings(tmp_path, "render")) == "render"
    assert identity.remembered(settings(tmp_path)) == "render"
    for ask in (identity.remembered, identity.of_folder):
        with pytest.raises(ConfigError, match="belongs to the grid render") as refused:
            ask(settings(tmp_path, "lab"))
        assert "folder of its own" in refused.value.remedy


@pytest.mark.parametrize("name", ["a b", "-a", "ä", "a/b", "x" * 65, "\n"])
def test_what_can_be_no_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"scheduler\.grid") as refused:
        identity.of_folder(settings(tmp_path, name))
    assert "letters" in refused.value.remedy
    assert list(tmp_path.iterdir()) == []
