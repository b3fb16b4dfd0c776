"""The working folder: whatever a task leaves in it is seen, however soon after the last look."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpgrid.runner import workspace as module
from corpgrid.runner.workspace import Workspace


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def nothing() -> None:
    """Most tasks."""


def file() -> None:
    Path("file").touch()


def folder() -> None:
    Path("folder").mkdir()


def link() -> None:
    Path("link").symlink_to("nowhere")


def comes_and_goes() -> None:
    Path("file").touch()
    Path("file").unlink()


def renamed_into() -> None:
    Path("../aside").touch()
    Path("../aside").rename("file")


def backdated() -> None:
    before = Path.cwd().stat()
    Path("file").touch()
    os.utime(".", ns=(before.st_atime_ns, before.st_mtime_ns))


def walks_away() -> None:
    os.chdir("/")


def removes_it() -> None:
    Path.cwd().rmdir()


def replaces_it() -> None:
    Path("../out").rename("../old-" + str(len(os.listdir(".."))))  # noqa: PTH208 - a count
    Path("../out").mkdir()


def leaves_and_walks_away() -> None:
    Path("file").touch()
    os.chdir("/")


QUIET = [nothing, comes_and_goes, walks_away, removes_it, replaces_it]
LEAVING = [file, folder, link, renamed_into, backdated, leaves_and_walks_away]


def run_all(work: Path, tasks: list[Callable[[], None]]) -> None:
    """Run them one after another, and see that each left what it left and found an empty folder."""
    workspace = Workspace(str(work))
    workspace.enter()
    for index, task in enumerate(tasks):
        assert Path.cwd() == work / "out"
        assert list(Path.cwd().iterdir()) == []
        task()
        assert workspace.set_aside(index, 0) == (task in LEAVING), (index, task)
        assert (work / f"task-{index}-0").exists() == (task in LEAVING)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([nothing] * 8 + QUIET + LEAVING), max_size=60))
def test_whatever_a_task_leaves_is_set_aside(tmp_path_factory: pytest.TempPathFactory, tasks: list[Callable[[], None]]):
    before = Path.cwd()
    try:
        run_all(tmp_path_factory.mktemp("work"), tasks)
    finally:
        os.chdir(before)


def test_a_file_is_seen_at_any_moment_after_a_quiet_task(work: Path):
    run_all(work, [task for quiet in range(1, 60) for task in [*[nothing] * quiet, file]])


def test_a_folder_that_did_not_change_is_not_listed_again(work: Path, monkeypatch: pytest.MonkeyPatch):
    workspace = Workspace(str(work))
    workspace.enter()
    while workspace._empty is None:  # until the file system's clock moves on
        assert not workspace.set_aside(0, 0)
    monkeypatch.setattr(module.os, "listdir", None)
    assert not workspace.set_aside(1, 0)
    comes_and_goes()
    with pytest.raises(TypeError):
        workspace.set_aside(2, 0)


def test_no_stamp_is_trusted_while_the_clock_stands(work: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "_stamp", lambda _path: (7, 0, 0))
    monkeypatch.setattr(Workspace, "_clock", lambda _self: 7)
    run_all(work, [nothing, nothing, file, nothing, folder, file])
