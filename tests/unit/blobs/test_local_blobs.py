"""What a folder of blobs does when the world fails it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corpgrid.blobs.folder import BlobFolder
from corpgrid.blobs.local import LocalBlobs
from corpgrid.errors import DigestError, NotFoundError, StoreError
from corpgrid.trust.digest import digest
from tests.contracts.blobs import digests, some_bytes, stream


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "blobs"


@pytest.fixture
def folder(root: Path) -> BlobFolder:
    return BlobFolder(root)


@pytest.fixture
async def blobs(root: Path) -> LocalBlobs:
    return await LocalBlobs.at(root)


def leftovers(root: Path) -> list[str]:
    return sorted(entry.name for entry in (root / "tmp").iterdir())


def wreck(place: Path, how: str) -> None:
    content = bytearray(place.read_bytes())
    if how == "bit":
        content[len(content) // 2] ^= 1
    elif how == "shorter":
        del content[-1:]
    else:
        content.append(0)
    place.write_bytes(content)


@pytest.mark.parametrize("how", ["bit", "shorter", "longer"])
@pytest.mark.parametrize("size", [100, (2 << 20) + 5])
async def test_a_damaged_blob_is_never_given_away(
    blobs: LocalBlobs, folder: BlobFolder, tmp_path: Path, how: str, size: int
) -> None:
    content = some_bytes(size)
    name = digest(content)

    async def read_all() -> None:
        got = b"".join([chunk async for chunk in blobs.open(name)])
        assert got == content

    for read in (blobs.get, lambda name: blobs.fetch(name, tmp_path / "target"), lambda _: read_all()):
        await blobs.put(content)
        wreck(folder.place(name), how)
        with pytest.raises(DigestError) as caught:
            await read(name)
        assert caught.value.remedy
        assert (folder.root / "damaged" / name.hex()).exists()
        with pytest.raises(NotFoundError):
            await blobs.get(name)
        assert os.listdir(tmp_path) == ["blobs"], "a part of it was left behind"  # noqa: PTH208 - names are enough
    await blobs.put(content)
    await read_all()


async def test_the_last_chunk_of_a_damaged_blob_is_held_back(blobs: LocalBlobs, folder: BlobFolder) -> None:
    content = some_bytes(5 << 19)
    name = await blobs.put(content)
    wreck(folder.place(name), "bit")
    chunks = blobs.open(name)
    got = len(await anext(chunks))
    with pytest.raises(DigestError):
        got += len(await anext(chunks)) + len(await anext(chunks))
    assert got < len(content)


@pytest.mark.parametrize("size", [1_000, 2 << 20])
async def test_a_blob_of_a_wrong_size_is_put_anew(blobs: LocalBlobs, folder: BlobFolder, size: int) -> None:
    content = some_bytes(size)
    name = await blobs.put(content)
    wreck(folder.place(name), "shorter")
    await blobs.put(content)
    assert await blobs.get(name) == content


async def test_a_good_blob_is_not_set_aside(folder: BlobFolder, blobs: LocalBlobs) -> None:
    name = await blobs.put(b"good")
    folder.set_aside(name)
    assert await blobs.get(name) == b"good", "whoever put it anew meanwhile was told that it is stored"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = os.name == "posix" and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", disk], check=False, capture_output=True
    )
    if not mounted or mounted.returncode:
        pytest.skip("mounting a small disk needs root")
    yield disk
    subprocess.run(["umount", disk], check=True)


async def test_a_full_disk_leaves_no_trace(small_disk: Path, tmp_path: Path) -> None:
    blobs = await LocalBlobs.at(small_disk / "blobs")
    kept = await blobs.put(b"kept")
    content = some_bytes(6 << 20)
    (tmp_path / "source").write_bytes(content)
    pieces = [content[start : start + 100_000] for start in range(0, len(content), 100_000)]
    for put in (
        lambda: blobs.put(content),
        lambda: blobs.put_file(tmp_path / "source"),
        lambda: blobs.put_stream(stream(pieces)),
    ):
        with pytest.raises(StoreError, match="disk is full") as caught:
            await put()
        assert caught.value.remedy
        assert leftovers(small_disk / "blobs") == []
        assert await blobs.missing([digest(content)]) == [digest(content)]
    assert await blobs.get(kept) == b"kept"
    assert await blobs.put(content[: 2 << 20])


async def test_a_file_that_is_not_there_cannot_be_put(blobs: LocalBlobs, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="nowhere") as caught:
        await blobs.put_file(tmp_path / "nowhere")
    assert caught.value.remedy


async def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError):
        await LocalBlobs.at(tmp_path / "file" / "blobs")


KILLED = """
import asyncio, sys
from pathlib import Path
from corpgrid.blobs.local import LocalBlobs

async def endless():
    while True:
        yield bytes(1 << 20)
        print("written", flush=True)
        await asyncio.sleep(0.01)

async def main():
    blobs = await LocalBlobs.at(Path(sys.argv[1]))
    await blobs.put_stream(endless())

asyncio.run(main())
"""


def test_what_a_killed_writer_left_is_swept(root: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", KILLED, str(root)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for _ in range(3):
            process.stdout.readline()
        assert BlobFolder(root).sweep() == 0, "the file of a living writer was swept"
        assert len(leftovers(root)) == 1
        process.send_signal(signal.SIGKILL)
    assert len(leftovers(root)) == 1
    asyncio.run(LocalBlobs.at(root))
    assert leftovers(root) == []


async def test_a_blob_that_a_killed_collector_took_out_is_put_back(root: Path, folder: BlobFolder) -> None:
    name = await (await LocalBlobs.at(root)).put(b"content")
    folder.place(name).rename(root / "tmp" / f"{name.hex()}.old")
    assert await (await LocalBlobs.at(root)).get(name) == b"content"
    assert leftovers(root) == []


async def test_a_blob_that_is_put_while_it_is_discarded_stays(folder: BlobFolder, blobs: LocalBlobs) -> None:
    name = await blobs.put(b"content")
    limit = folder.place(name).stat().st_mtime
    assert not folder.discard(name, put_before=limit)
    assert await blobs.get(name) == b"content"
    assert folder.discard(name, put_before=limit + 1.0)
    assert not folder.discard(name, put_before=limit + 1.0)


def test_putting_and_collecting_at_once_loses_nothing(folder: BlobFolder) -> None:
    """However a put and the collection of the same old blob interleave: what put has returned stays."""
    blobs, content = LocalBlobs(folder), b"content"
    name = digest(content)
    with ThreadPoolExecutor(2) as threads:
        for _ in range(300):
            blobs._put_small(content)
            os.utime(folder.place(name), (1.0, 1.0))
            both = [
                threads.submit(blobs._put_small, content),
                threads.submit(folder.discard, name, put_before=1_000.0),
            ]
            for future in both:
                future.result()
            assert folder.place(name).exists()


async def test_a_put_that_is_cancelled_leaves_nothing(root: Path, blobs: LocalBlobs) -> None:
    started = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield some_bytes(2 << 20)
        started.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(blobs.put_stream(slow()))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert leftovers(root) == []


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), size=st.integers(0, 5 << 19))
def test_any_bytes_in_any_pieces_come_back(tmp_path: Path, data: st.DataObject, size: int) -> None:
    content = some_bytes(size, seed=size)
    cuts = sorted(data.draw(st.lists(st.integers(0, size), max_size=6)))
    pieces = [content[start:end] for start, end in zip([0, *cuts], [*cuts, size], strict=True)]
    offset = data.draw(st.integers(0, size + 10))

    async def check() -> None:
        blobs = await LocalBlobs.at(tmp_path / "blobs")
        name = await blobs.put_stream(stream(pieces), expected=digest(content))
        assert await blobs.put(content) == name
        assert b"".join([chunk async for chunk in blobs.open(name, offset=offset)]) == content[offset:]

    asyncio.run(check())


async def test_collection_looks_only_at_blobs(root: Path, blobs: LocalBlobs) -> None:
    name = await blobs.put(b"content")
    (root / "ab").mkdir(exist_ok=True)
    (root / "ab" / "cd").mkdir(exist_ok=True)
    (root / "ab" / "cd" / "notes.txt").write_text("mine")
    (root / "README").write_text("mine")
    (root / "ab" / "notes.txt").write_text("mine")
    assert await blobs.collect(digests(name), older_than_seconds=-10.0) == 0
    assert await blobs.collect(digests(), older_than_seconds=-10.0) == 1
    assert (root / "ab" / "cd" / "notes.txt").exists()


async def test_files_are_for_their_owner_alone(blobs: LocalBlobs, folder: BlobFolder) -> None:
    name = await blobs.put(b"content")
    assert folder.root.stat().st_mode & 0o777 == 0o700
    assert folder.place(name).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("size", [5, 2 << 20])
@pytest.mark.parametrize("way", ["put", "put_file", "put_stream"])
async def test_a_blob_and_its_name_are_on_the_disk_before_it_is_acknowledged(
    *, blobs: LocalBlobs, folder: BlobFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str, size: int
) -> None:
    synced: list[int] = []
    fsync = os.fsync

    def noting(descriptor: int) -> None:
        fsync(descriptor)
        synced.append(os.fstat(descriptor).st_ino)

    content = some_bytes(size)
    (tmp_path / "source").write_bytes(content)
    given = {"put": content, "put_file": tmp_path / "source", "put_stream": stream([content])}
    monkeypatch.setattr(os, "fsync", noting)
    name = await getattr(blobs, way)(given[way])
    place = folder.place(name)
    file, folders = place.stat().st_ino, [folder.stat().st_ino for folder in place.parents[:3]]
    assert {file, *folders} <= set(synced), "each folder names the next, the last the blob"
    assert synced[-1] == folders[0]
    assert synced.index(file) < len(synced) - 1, "a name was on the disk before its bytes"
