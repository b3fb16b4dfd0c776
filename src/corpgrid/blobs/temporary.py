"""A file on its way to become a blob, and what each system does to bring files and names to the disk."""

from __future__ import annotations

import os
import secrets
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

if sys.platform != "win32":
    import fcntl

_WRITE_BYTES = 8 << 20


class Temporary:
    """A new file in ``folder`` that gets its place by ``move``, or else is gone when it is closed.

    One thread may close it while another still writes: what comes after that goes nowhere.
    """

    def __init__(self, folder: Path) -> None:
        self.path, self._descriptor = _create(folder)
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

    def move(self, place: Path) -> None:
        """Give it its place, and bring its name there to the disk; it was synced."""
        assert self._synced
        _move(self, place)
        sync_folder(place.parent)

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

    def sync_folder(path: Path) -> None:
        """NTFS keeps its names in a journal of its own; there is nothing to call."""

    def _hold(descriptor: int) -> None:
        """An open file cannot be moved or deleted there: that is the lock."""

    def _move(temporary: Temporary, place: Path) -> None:
        temporary.let_go()
        temporary.path.replace(place)

    def abandoned(path: Path) -> bool:
        """Whether no living process writes this file."""
        try:
            path.rename(path)
        except PermissionError:
            return False
        return True
else:

    def sync_folder(path: Path) -> None:
        """Bring the names in a folder to the disk."""
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

    def abandoned(path: Path) -> bool:
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
