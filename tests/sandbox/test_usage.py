"""What is measured and removed below a work folder, against the plain way of doing it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpgrid.host.sandbox_files import remove_tree
from corpgrid.host.sandbox_usage import DEPTH_MAX, WorkUsage, work_usage

names = st.text(alphabet="abc", min_size=1, max_size=2)
trees = st.recursive(st.integers(0, 5000), lambda inner: st.dictionaries(names, inner, max_size=4), max_leaves=12)


def _build(folder: Path, tree: dict[str, object]) -> None:
    for name, content in tree.items():
        if isinstance(content, dict):
            (folder / name).mkdir()
            _build(folder / name, content)
        else:
            (folder / name).write_bytes(b"x" * int(str(content)))


@given(tree=st.dictionaries(names, trees, max_size=5))
@settings(max_examples=40, deadline=None, database=None)
def test_a_tree_is_measured_as_a_plain_walk_would_and_removed(tree: dict[str, object]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        top = Path(scratch) / "work"
        top.mkdir()
        _build(top, tree)
        files = [Path(folder, name) for folder, _, inner in os.walk(top) for name in inner]
        folders = [Path(folder, name) for folder, inner, _ in os.walk(top) for name in inner]
        size = sum(max(file.stat().st_size, file.stat().st_blocks * 512) for file in files)
        assert work_usage(top, files_max=1000) == WorkUsage(size, len(files) + len(folders))
        remove_tree(top)
        assert not top.exists()


def test_a_walk_ends_at_its_bound(tmp_path: Path) -> None:
    for number in range(50):
        (tmp_path / str(number)).touch()
    assert work_usage(tmp_path, files_max=10).files == 11


def test_a_tree_that_is_too_deep_counts_as_too_many(tmp_path: Path) -> None:
    (tmp_path / "/".join(["d"] * DEPTH_MAX)).mkdir(parents=True)
    assert work_usage(tmp_path, files_max=1000).files == DEPTH_MAX
    (tmp_path / "/".join(["d"] * (DEPTH_MAX + 1))).mkdir(parents=True)
    (tmp_path / "/".join(["d"] * (DEPTH_MAX + 1)) / "file").touch()
    assert work_usage(tmp_path, files_max=1000).files == 1001


def test_a_sparse_file_is_as_long_as_it_says(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 30)
    assert work_usage(tmp_path, files_max=10).size_bytes == 1 << 30


def test_a_closed_folder_hides_nothing(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir()
    (tmp_path / "closed" / "large").write_bytes(bytes(100_000))
    (tmp_path / "closed").chmod(0)
    assert work_usage(tmp_path, files_max=10).size_bytes >= 100_000
    remove_tree(tmp_path / "closed")


def test_what_is_not_there_measures_nothing_and_is_removed_already(tmp_path: Path) -> None:
    assert work_usage(tmp_path / "gone", files_max=10) == WorkUsage(0, 0)
    remove_tree(tmp_path / "gone")


def test_a_link_in_the_folders_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
        remove_tree(tmp_path / "link")
    assert work_usage(tmp_path / "link", files_max=10) == WorkUsage(0, 0)
    assert (tmp_path / "kept").exists()
