"""What a task may leave, and everything else that it might leave."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import socket
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from corpgrid.agent import outputs
from corpgrid.agent.outputs import OutputError, collect, stage
from corpgrid.domain.ids import Digest
from corpgrid.domain.job import Limits
from corpgrid.trust.digest import digest
from corpgrid.trust.limits import MAX_PATH_BYTES

LIMITS = Limits(output_bytes=10_000, output_files=8, output_depth=3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "task-0-0"
    made.mkdir()
    return made


class Store:
    """Blobs in memory."""

    def __init__(self) -> None:
        self.blobs: dict[Digest, bytes] = {}

    async def put_file(self, path: Path) -> Digest:
        content = await asyncio.to_thread(path.read_bytes)
        self.blobs[digest(content)] = content
        return digest(content)


def fill(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def refused(folder: Path, reason: str, told: str | None = None, limits: Limits = LIMITS) -> None:
    staging = folder.parent / "staging"
    with pytest.raises(OutputError, match=told) as refusal:
        stage(folder, limits=limits, staging=staging)
    assert refusal.value.reason == reason
    shutil.rmtree(staging, ignore_errors=True)


async def test_files_are_stored_by_name_and_the_folder_goes(folder: Path, tmp_path: Path):
    files = {"a.txt": b"a", "empty": b"", "sub/deep/er/c.bin": b"c" * 5000, "sub/b.txt": b"b"}
    fill(folder, files)
    (folder / "empty folder").mkdir()
    store = Store()
    found = await collect(folder, limits=LIMITS, staging=tmp_path / "staging", put_file=store.put_file)
    assert {file.name: store.blobs[file.digest] for file in found} == files
    assert all(file.size_bytes == len(files[file.name]) for file in found)
    assert names_in(tmp_path) == []


async def test_the_order_is_the_same_everywhere(folder: Path, tmp_path: Path):
    names = [f"{letter}/{number}" for letter in "ba" for number in (3, 1, 2)]
    fill(folder, dict.fromkeys(names, b""))
    found = await collect(folder, limits=LIMITS, staging=tmp_path / "s", put_file=Store().put_file)
    again = tmp_path / "task-1-0"
    fill(again, dict.fromkeys(reversed(names), b""))
    twice = await collect(again, limits=LIMITS, staging=tmp_path / "s", put_file=Store().put_file)
    assert [file.name for file in found] == [file.name for file in twice]


async def test_a_refusal_leaves_nothing_behind(folder: Path, tmp_path: Path):
    fill(folder, {"a": b"fine"})
    (folder / "z").symlink_to("/etc/passwd")
    store = Store()
    with pytest.raises(OutputError):
        await collect(folder, limits=LIMITS, staging=tmp_path / "staging", put_file=store.put_file)
    assert store.blobs == {}
    assert names_in(tmp_path) == []


def test_the_limits_are_exact(folder: Path):
    fill(folder, {"a": b"x" * 4000, "b/c/d/e": b"x" * 6000, **{f"f{n}": b"" for n in range(6)}})
    assert len(stage(folder, limits=LIMITS, staging=folder.parent / "staging")) == 8
    shutil.rmtree(folder.parent / "staging")
    refused(folder, "output_bytes", limits=replace(LIMITS, output_bytes=9_999))
    refused(folder, "output_files", limits=replace(LIMITS, output_files=7))
    refused(folder, "output_depth", "deeper than output_depth, 2", limits=replace(LIMITS, output_depth=2))


def test_a_file_without_room_is_not_begun(folder: Path, monkeypatch: pytest.MonkeyPatch):
    (folder / "file").write_bytes(bytes(1000))
    free = shutil.disk_usage(folder)._replace(free=999)
    monkeypatch.setattr("corpgrid.agent.outputs.shutil.disk_usage", lambda _: free)
    staging = folder.parent / "staging"
    with pytest.raises(OSError, match="No space left") as caught:
        stage(folder, limits=LIMITS, staging=staging)
    assert caught.value.errno == errno.ENOSPC
    assert list(staging.iterdir()) == []


def test_folders_alone_are_limited_too(folder: Path):
    for number in range(LIMITS.output_files * (1 + LIMITS.output_depth) + 1):
        (folder / str(number)).mkdir()
    refused(folder, "output_files")


def test_nothing_is_allowed_where_nothing_is_allowed(folder: Path):
    assert stage(folder, limits=replace(LIMITS, output_files=0), staging=folder.parent / "staging") == []
    (folder / "x").touch()
    shutil.rmtree(folder.parent / "staging")
    refused(folder, "output_files", limits=replace(LIMITS, output_files=0))


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.path.relpath(path))


KINDS: dict[str, Callable[[Path], object]] = {
    "a symbolic link": lambda path: path.symlink_to("/etc/passwd"),
    "symbolic link": lambda path: path.symlink_to(path.parent),  # to a folder
    "link": lambda path: path.symlink_to("nowhere"),
    "a pipe": os.mkfifo,
    "a socket": make_socket,
}


@pytest.mark.parametrize("kind", KINDS)
def test_only_regular_files_are_taken(folder: Path, kind: str):
    (folder / "sub").mkdir()
    KINDS[kind](folder / "sub" / "thing")
    refused(folder, "output_kind", kind)


def test_a_second_name_of_another_file_is_refused(folder: Path):
    secret = folder.parent / "secret"
    secret.write_text("secret")
    (folder / "mine").hardlink_to(secret)
    refused(folder, "output_kind", "hard link")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes devices")
def test_a_device_is_refused(folder: Path):
    os.mknod(folder / "null", 0o666 | 0o020000, os.makedev(1, 3))
    refused(folder, "output_kind", "a device")


@pytest.mark.parametrize("left", ["absent", "a file", "a link to a folder"])
def test_the_folder_itself_is_one(tmp_path: Path, left: str):
    if left == "a file":
        (tmp_path / "task").touch()
    elif left == "a link to a folder":
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "task").symlink_to(tmp_path / "elsewhere")
    refused(tmp_path / "task", "output_kind")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (b"CON", "Windows reserves"),
        (b"lpt1.txt", "Windows reserves"),
        (b"C:evil", "character"),
        (b"back\\slash", "character"),
        (b"bell\x07", "character"),
        (b"\x1b[2J", "character"),
        (b"new\nline", "character"),
        (b"\xff\xfe", "not Unicode"),
        (b"dot.", "dot or space"),
        (b"space ", "dot or space"),
        ("e\u0301".encode(), "normal form"),
    ],
)
def test_names_that_do_not_mean_the_same_everywhere_are_refused(folder: Path, name: bytes, told: str):
    path = folder / os.fsdecode(name)
    path.touch()
    refused(folder, "output_name", told)
    path.unlink()
    path.mkdir()
    refused(folder, "output_name", told)


def test_a_path_that_is_too_long_is_refused(folder: Path):
    levels = MAX_PATH_BYTES // 255 + 1
    folder.joinpath(*["x" * 255] * levels).mkdir(parents=True)
    refused(folder, "output_name", "MAX_PATH_BYTES", limits=replace(LIMITS, output_depth=levels))


def test_names_that_differ_only_in_case_are_refused(folder: Path):
    fill(folder, {"Readme": b"", "README": b""})
    refused(folder, "output_name", "differ only in case")


def test_a_file_that_is_nearly_all_hole_is_refused(folder: Path):
    with (folder / "hole").open("wb") as file:
        file.truncate(1 << 40)
    refused(folder, "output_ratio", "all hole", limits=replace(LIMITS, output_bytes=1 << 50))


def test_a_small_hole_is_only_a_file(folder: Path):
    with (folder / "hole").open("wb") as file:
        file.truncate(9_000)
    (staged,) = stage(folder, limits=LIMITS, staging=folder.parent / "staging")
    assert staged.path.read_bytes() == bytes(9_000)


def swap_before(monkeypatch: pytest.MonkeyPatch, name: str, swap: Callable[[], object]) -> None:
    """Run ``swap`` once, just before the collector opens ``name``."""
    real = os.open
    left = [swap]

    def opens(path: object, *args: int, **kwargs: int) -> int:
        if path == name and left:
            left.pop()()
        return real(path, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(outputs.os, "open", opens)


def test_a_folder_swapped_for_a_link_leads_nowhere(folder: Path, monkeypatch: pytest.MonkeyPatch):
    secret = folder.parent / "elsewhere"
    fill(secret, {"key": b"secret"})
    fill(folder, {"sub/key": b"mine"})

    def swap() -> None:
        (folder / "sub").rename(folder.parent / "moved")
        (folder / "sub").symlink_to(secret)

    swap_before(monkeypatch, "sub", swap)
    refused(folder, "output_read")


def test_a_folder_swapped_further_up_leads_nowhere(folder: Path, monkeypatch: pytest.MonkeyPatch):
    secret = folder.parent / "elsewhere"
    fill(secret, {"b/key": b"secret"})
    fill(folder, {"a/b/key": b"mine"})

    def swap() -> None:
        (folder / "a").rename(folder.parent / "moved")
        (folder / "a").symlink_to(secret)

    swap_before(monkeypatch, "b", swap)
    staged = stage(folder, limits=LIMITS, staging=folder.parent / "staging")
    assert [file.path.read_bytes() for file in staged] == [b"mine"]


@pytest.mark.parametrize("become", ["link", "pipe", "folder", "nothing"])
def test_a_file_swapped_between_look_and_opening_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch, become: str):
    secret = folder.parent / "secret"
    secret.write_text("secret")
    file = folder / "file"
    file.write_text("mine")

    def swap() -> None:
        file.unlink()
        if become == "link":
            file.symlink_to(secret)
        elif become == "pipe":
            os.mkfifo(file)
        elif become == "folder":
            file.mkdir()

    swap_before(monkeypatch, "file", swap)
    with pytest.raises(OutputError) as refusal:
        stage(folder, limits=LIMITS, staging=folder.parent / "staging")
    assert refusal.value.reason in ("output_kind", "output_read")


def test_a_file_that_grows_while_it_is_copied_stops_at_the_limit(folder: Path):
    file = folder / "growing"
    file.write_bytes(b"x" * 1000)
    stop = threading.Event()

    def grow() -> None:
        with file.open("ab", buffering=0) as growing:
            while not stop.is_set() and growing.tell() < 1 << 28:
                growing.write(b"x" * 65_536)

    writer = threading.Thread(target=grow)
    writer.start()
    while file.stat().st_size < 20_000:
        pass
    try:
        refused(folder, "output_bytes")
    finally:
        stop.set()
        writer.join()


def test_a_race_never_lets_a_secret_out(folder: Path):
    """Blind and for real: a folder and a link change places as fast as they can."""
    secret = folder.parent / "elsewhere"
    fill(secret, {"key": b"secret"})
    fill(folder, {"sub/key": b"mine"})
    (folder.parent / "link").symlink_to(secret)
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            (folder / "sub").rename(folder.parent / "real")
            (folder.parent / "link").rename(folder / "sub")
            (folder / "sub").rename(folder.parent / "link")
            (folder.parent / "real").rename(folder / "sub")

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        for number in range(200):
            staging = folder.parent / f"staging-{number}"
            try:
                staged = stage(folder, limits=LIMITS, staging=staging)
            except OutputError:
                continue
            assert all(file.path.read_bytes() == b"mine" for file in staged)
    finally:
        stop.set()
        swapper.join()
