"""A content-addressed folder on a local disk; every call blocks and belongs into a thread.

* A blob stands at ``ab/cd/<digest>``.  It is written under ``tmp``, brought to the disk, renamed into its place, and
  then its folder is brought to the disk: whoever sees it sees all of it, and what was committed survives a power cut.
* A file's time of change is when it was last put.  The file system's own clock decides what is old.
* Who writes a temporary file holds a lock on it; what nobody holds was left by a process that died, and is swept.
* ``discard`` first takes a blob out of its place and then looks whether it was put again meanwhile: a blob that was
  just put is never lost, whoever puts it.
"""

from __future__ import annotations

import errno
import os
import secrets
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from blake3 import blake3

from corpgrid.domain.ids import DIGEST_BYTES, Digest, digest_text
from corpgrid.errors import NotFoundError, StoreError

if sys.platform != "win32":
    import fcntl

_TEMPORARY = "tmp"
_DAMAGED = "damaged"
_TAKEN_OUT = ".old"
_WRITE_BYTES = 8 << 20
_SETTLED_SECONDS = 60.0
"""A blob that was put so long ago has long been brought to the disk by whoever put it."""
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class BlobFolder:
    """The folder ``root``; made, for its owner alone, if it is not there."""

    def __init__(self, root: Path) -> None:
        self.root = root
        with self.translated():
            for folder in (root, root / _TEMPORARY, root / _DAMAGED):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def place(self, digest: Digest) -> Path:
        """Where a blob stands."""
        assert len(digest) == DIGEST_BYTES, digest
        name = digest.hex()
        return self.root / name[:2] / name[2:4] / name

    def touch(self, digest: Digest) -> bool:
        """Whether a blob is here; if it is, it counts as put now."""
        try:
            os.utime(self.place(digest))
        except FileNotFoundError:
            return False
        return True

    def put_again(self, digest: Digest, size_bytes: int) -> bool:
        """Whether a blob is here and on the disk; it counts as put now.  One of another size is damaged: not here."""
        place = self.place(digest)
        try:
            before = place.stat()
            os.utime(place)
            after = place.stat()
        except FileNotFoundError:
            return False
        if after.st_mtime - before.st_mtime < _SETTLED_SECONDS:
            _sync_folder(place.parent)
        return after.st_size == size_bytes

    def size(self, digest: Digest) -> int | None:
        """Bytes of a blob, or None."""
        try:
            return self.place(digest).stat().st_size
        except FileNotFoundError:
            return None

    def require(self, digest: Digest) -> Path:
        """Where a blob stands.

        Raises:
            NotFoundError: it is not here.
        """
        place = self.place(digest)
        if not place.exists():
            raise NotFoundError(
                f"there is no blob {digest_text(digest)}", remedy="Put it again; blobs that no job names are collected."
            )
        return place

    def set_aside(self, digest: Digest) -> Path:
        """Take a damaged blob out of its place, so that it can be put anew; where it is now."""
        aside = self.root / _DAMAGED / digest.hex()
        with suppress(FileNotFoundError):  # another reader found the damage first
            self.place(digest).replace(aside)
            if file_digest(aside) == digest:  # somebody put it anew meanwhile
                aside.replace(self.place(digest))
        return aside

    # -- collection

    def old(self, older_than_seconds: float) -> tuple[set[Digest], float]:
        """Blobs that were put longer ago than that, and when that was."""
        limit = self._now() - older_than_seconds
        found = set()
        for entry in self._entries():
            try:
                digest = Digest(bytes.fromhex(entry.name))
            except ValueError:
                continue
            if len(digest) == DIGEST_BYTES and entry.stat().st_mtime < limit:
                found.add(digest)
        return found, limit

    def discard(self, digest: Digest, *, put_before: float) -> bool:
        """Delete a blob unless it was put at ``put_before`` or later; whether it is gone."""
        place = self.place(digest)
        taken_out = self.root / _TEMPORARY / (digest.hex() + _TAKEN_OUT)
        try:
            place.replace(taken_out)
        except FileNotFoundError:
            return False
        if taken_out.stat().st_mtime >= put_before:
            taken_out.replace(place)
            return False
        taken_out.unlink()
        return True

    def sweep(self) -> int:
        """Delete what dead processes left half written, and put back what they were about to delete; how many."""
        swept = 0
        for entry in sorted((self.root / _TEMPORARY).iterdir()):
            if not _abandoned(entry):
                continue
            swept += 1
            if entry.suffix == _TAKEN_OUT:
                entry.replace(self.place(Digest(bytes.fromhex(entry.stem))))
            else:
                entry.unlink(missing_ok=True)
        return swept

    def _entries(self) -> Iterator[os.DirEntry[str]]:
        for first in os.scandir(self.root):
            if len(first.name) == 2 and first.is_dir():
                for second in os.scandir(first):
                    yield from os.scandir(second)

    def _now(self) -> float:
        """The time by the file system's clock, which need not be this machine's."""
        with Temporary(self) as temporary:
            return temporary.path.stat().st_mtime

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Errors of the system become ``StoreError``."""
        try:
            yield
        except OSError as error:
            if error.errno in _FULL:
                raise StoreError(
                    f"no room for a blob in {self.root}: the disk is full",
                    remedy=f"Free space where {self.root} is; nothing that was acknowledged is lost.",
                ) from error
            raise StoreError(
                f"the blob folder {self.root} failed: {error.strerror or error}",
                remedy=f"Make {self.root} a folder that this user may write to.",
            ) from error

    def temporary(self) -> Temporary:
        """A new temporary file."""
        return Temporary(self)


class Temporary:
    """A file that becomes a blob by ``commit``, or else is gone when it is closed.

    One thread may close it while another still writes: what comes after that goes nowhere.
    """

    def __init__(self, folder: BlobFolder) -> None:
        self._folder = folder
        self.path, self._descriptor = _create(folder.root / _TEMPORARY)
        self._lock = threading.Lock()
        self._synced = False
        self.wanted = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def write(self, content: bytes) -> None:
        """Append bytes; stops early once it is not ``wanted``."""
        rest = memoryview(content)
        while rest:
            with self._lock:
                if not self.wanted:
                    return
                self._synced = False
                rest = rest[os.write(self._descriptor, rest[:_WRITE_BYTES]) :]

    def sync(self) -> None:
        """Bring it to the disk."""
        with self._lock:
            if self.wanted:
                os.fsync(self._descriptor)
                self._synced = True

    def commit(self, digest: Digest) -> None:
        """Give it its place; it was synced."""
        assert self._synced
        place = self._folder.place(digest)
        _make_folder(place.parent.parent)
        _make_folder(place.parent)
        _move(self, place)
        _sync_folder(place.parent)

    def close(self) -> None:
        """Let go of it."""
        self.let_go()
        self.path.unlink(missing_ok=True)

    def let_go(self) -> None:
        """Close the file, and leave it where it is."""
        self.wanted = False
        with self._lock:
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1


def file_digest(path: Path) -> Digest:
    """The digest of a file that nobody changes meanwhile."""
    return Digest(blake3().update_mmap(path).digest())


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        return
    _sync_folder(path.parent)


def _create(folder: Path) -> tuple[Path, int]:
    """A new file that this process holds; a sweep may take it in the moment before it is locked."""
    while True:
        path = folder / secrets.token_hex(16)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
        _hold(descriptor)
        if os.fstat(descriptor).st_nlink:
            return path, descriptor
        os.close(descriptor)


if sys.platform == "win32":  # pragma: no cover - exercised on Windows only

    def _sync_folder(path: Path) -> None:
        """NTFS keeps its names in a journal of its own; there is nothing to call."""

    def _hold(descriptor: int) -> None:
        """An open file cannot be moved or deleted there: that is the lock."""

    def _move(temporary: Temporary, place: Path) -> None:
        temporary.let_go()
        temporary.path.replace(place)

    def _abandoned(path: Path) -> bool:
        try:
            path.rename(path)
        except PermissionError:
            return False
        return True
else:

    def _sync_folder(path: Path) -> None:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _hold(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)

    def _move(temporary: Temporary, place: Path) -> None:
        """Under the lock, so that no sweep takes it on the way."""
        temporary.path.replace(place)

    def _abandoned(path: Path) -> bool:
        """Whether no living process writes this file."""
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(descriptor)
        return True
