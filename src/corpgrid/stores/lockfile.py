"""One process at a time: a lock on a file, held until it is let go or its process ends, however it ends."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from corpgrid.errors import StoreError

if sys.platform == "win32":  # pragma: no cover - exercised on Windows only
    import msvcrt

    def _lock(descriptor: int) -> None:
        # The byte stands far behind the text, so that others can still read who holds the lock.
        os.lseek(descriptor, 1 << 20, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


_REMEDY = "Stop the other scheduler, or give this one a store of its own."


class LockFile:
    """Holds ``path`` from its construction to ``release``.

    Raises:
        StoreError: another process holds it, or it cannot be written.
    """

    def __init__(self, path: Path, *, what: str, remedy: str = _REMEDY) -> None:
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StoreError(
                f"{what} cannot be locked: {error.strerror or error}", remedy=f"Make {path.parent} a writable folder."
            ) from error
        try:
            _lock(self._descriptor)
        except OSError:
            holder = os.pread(self._descriptor, 32, 0).decode(errors="replace").strip() if hasattr(os, "pread") else ""
            os.close(self._descriptor)
            by = f"process {holder}" if holder else "another process"
            raise StoreError(
                f"{what} is in use by {by}",
                remedy=remedy,
            ) from None
        os.ftruncate(self._descriptor, 0)
        os.write(self._descriptor, f"{os.getpid()}\n".encode())

    def release(self) -> None:
        """Let others have it.  The file stays: deleting it would let two processes hold two files of one name."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
