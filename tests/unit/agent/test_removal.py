"""Deleting what was made to be hard to delete."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from corpgrid.agent.removal import remove_tree


def dig(folder: Path, depth: int) -> None:
    """Folder in folder in folder, with a file on the way now and then."""
    here = os.open(folder, os.O_RDONLY)
    for level in range(depth):
        os.mkdir("d", dir_fd=here)
        if level % 1000 == 0:
            os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=here))
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)


def test_ten_thousand_levels_go(tmp_path: Path):
    folder = tmp_path / "deep"
    folder.mkdir()
    dig(folder, 10_000)
    assert remove_tree(folder)
    assert list(tmp_path.iterdir()) == []


def test_many_files_and_folders_go(tmp_path: Path):
    folder = tmp_path / "wide"
    for name in ("a", "b/c", "b/d/e"):
        (folder / name).mkdir(parents=True)
        for number in range(4_000):
            (folder / name / str(number)).touch()
    for number in range(3_000):
        (folder / f"folder-{number}" / "inner").mkdir(parents=True)
    assert remove_tree(folder)
    assert not folder.exists()


def test_links_are_deleted_and_not_followed(tmp_path: Path):
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_text("kept")
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "link").symlink_to(kept)
    (folder / "link").symlink_to(kept)
    (folder / "sub" / "second").hardlink_to(kept / "file")
    os.mkfifo(folder / "pipe")
    assert remove_tree(folder)
    assert (kept / "file").read_text() == "kept"


@pytest.mark.parametrize("left", ["absent", "file", "link", "dangling"])
def test_whatever_has_the_name_goes(tmp_path: Path, left: str):
    path = tmp_path / "name"
    (tmp_path / "kept").mkdir()
    if left == "file":
        path.touch()
    elif left != "absent":
        path.symlink_to(tmp_path / ("kept" if left == "link" else "nowhere"))
    assert remove_tree(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["kept"]
    assert remove_tree(tmp_path / "no" / "such" / "folder")


JOB_UID = 64_000


def as_ordinary_user(folder: Path) -> bool:
    """``remove_tree`` where closed folders are closed to this process too."""
    if os.geteuid() != 0:
        return remove_tree(folder)
    for above in folder.parents[1:]:
        above.chmod(above.stat().st_mode | 0o011)
    child = os.fork()
    if child == 0:
        os.setgid(JOB_UID)
        os.setuid(JOB_UID)
        os._exit(0 if remove_tree(folder) else 1)
    return os.waitpid(child, 0)[1] == 0


def test_closed_folders_are_opened(tmp_path: Path):
    folder = tmp_path / "mine" / "folder"
    (folder / "a" / "b" / "c").mkdir(parents=True)
    (folder / "a" / "b" / "file").touch()
    if os.geteuid() == 0:
        for path in (folder.parent, folder, *folder.rglob("*")):
            os.chown(path, JOB_UID, JOB_UID)
    for closed in (folder / "a" / "b" / "c", folder / "a" / "b", folder / "a", folder):
        closed.chmod(0)
    assert as_ordinary_user(folder)
    assert not folder.exists()


def test_it_gives_up_on_a_folder_that_is_being_filled(tmp_path: Path):
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    stop = threading.Event()

    def fill() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            for place in (folder, folder / "sub"):
                try:
                    (place / str(number)).mkdir(parents=True)
                except OSError:
                    continue

    filler = threading.Thread(target=fill)
    filler.start()
    try:
        started = time.monotonic()
        remove_tree(folder, seconds=0.3)
        assert time.monotonic() - started < 5
    finally:
        stop.set()
        filler.join()
    assert remove_tree(folder)
    assert not folder.exists()
