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
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from blake3 import blake3

from corpgrid.blobs.lost import gone
from corpgrid.blobs.temporary import Temporary, abandoned, sync_folder
from corpgrid.domain.ids import DIGEST_BYTES, Digest
from corpgrid.errors import StoreError

_TEMPORARY = "tmp"
_DAMAGED = "damaged"
_TAKEN_OUT = ".old"
_SETTLED_SECONDS = 60.0
"""A blob that was put so long ago has long been brought to the disk by whoever put it."""
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class BlobFolder:
    """The folder ``root``; made, for its owner alone, if it is not there."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._making = threading.Lock()
        with self.translated():
            for folder in (root, root / _TEMPORARY, root / _DAMAGED):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            sync_folder(root)
            sync_folder(root.parent)

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
            sync_folder(place.parent)
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
            raise gone(digest, self.root)
        return place

    def set_aside(self, digest: Digest) -> Path:
        """Take a damaged blob out of its place, so that it can be put anew; where it is now."""
        aside = self.root / _DAMAGED / digest.hex()
        with suppress(FileNotFoundError):  # another reader found the damage first
            self.place(digest).replace(aside)
            if file_digest(aside) == digest:  # somebody put it anew meanwhile
                aside.replace(self.place(digest))
        return aside

    def make_room(self, digest: Digest) -> None:
        """Make the folders in which a blob will stand; their names are on the disk before anybody relies on them."""
        folder = self.place(digest).parent
        with self._making:
            if not folder.exists():
                _make_folder(folder.parent)
                _make_folder(folder)

    # -- collection

    def old(self, older_than_seconds: float) -> tuple[set[Digest], float]:
        """Blobs that were put longer ago than that, and when that was."""
        limit = self._now() - older_than_seconds
        found = set()
        for entry in self._entries():
            # Not a digest: not ours.  Not there: another process collects too.
            with suppress(ValueError, FileNotFoundError):
                digest = Digest(bytes.fromhex(entry.name))
                if len(digest) == DIGEST_BYTES and entry.stat().st_mtime < limit:
                    found.add(digest)
        return found, limit

    def discard(self, digest: Digest, *, put_before: float) -> bool:
        """Delete a blob unless it was put at ``put_before`` or later; whether it is gone."""
        place = self.place(digest)
        taken_out = self.root / _TEMPORARY / (digest.hex() + _TAKEN_OUT)
        try:
            place.replace(taken_out)
            if taken_out.stat().st_mtime >= put_before:
                taken_out.replace(place)
                return False
            taken_out.unlink()
        except FileNotFoundError:
            return False  # another process did it first, or put it back
        return True

    def sweep(self) -> int:
        """Delete what dead processes left half written, and put back what they were about to delete; how many."""
        swept = 0
        for entry in sorted((self.root / _TEMPORARY).iterdir()):
            if not abandoned(entry):
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
                    if second.is_dir():
                        yield from os.scandir(second)

    def _now(self) -> float:
        """The time by the file system's clock, which need not be this machine's."""
        with self.temporary() as temporary:
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
        """A new file on its way to become a blob."""
        return Temporary(self.root / _TEMPORARY)

    def commit(self, temporary: Temporary, digest: Digest) -> None:
        """Make it a blob; it was synced."""
        self.make_room(digest)
        temporary.move(self.place(digest))


def file_digest(path: Path) -> Digest:
    """The digest of a file that nobody changes meanwhile."""
    return Digest(blake3().update_mmap(path).digest())


def _make_folder(path: Path) -> None:
    path.mkdir(mode=0o700, exist_ok=True)
    sync_folder(path.parent)
