"""Deletes a folder that a stranger filled: ten thousand levels deep, a million files wide, or both.

* No recursion, and two open folders at most: a folder inside a folder is moved up beside it, and emptied in its turn.
* Every step is relative to an open folder and follows no link, so that nothing outside is touched, whatever moves.
* Somebody may be adding files at the same time: after ``seconds`` it gives up, and is called again when they are gone.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NAMES_AT_ONCE = 10_000
_OWNER_ONLY = 0o700


def remove_tree(path: Path, *, seconds: float = 60.0) -> bool:
    """Delete a folder and all that is in it, or whatever else has that name; whether it is gone."""
    try:
        parent = os.open(path.parent, _FOLDER & ~os.O_NOFOLLOW)
    except FileNotFoundError:
        return True
    try:
        _Removal(parent, path.name, deadline=time.monotonic() + seconds).run()
    except FileNotFoundError:
        return True
    except OSError:  # also TimeoutError
        return False
    finally:
        os.close(parent)
    return True


class _Removal:
    """One deletion."""

    def __init__(self, parent: int, name: str, *, deadline: float) -> None:
        self._parent = parent
        self._name = name
        self._deadline = deadline
        self._prefix = f".removing-{secrets.token_hex(8)}-"
        self._serial = count()

    def run(self) -> None:
        try:
            root = _open(self._parent, self._name)
        except NotADirectoryError:
            os.unlink(self._name, dir_fd=self._parent)
            return
        try:
            for name, is_folder in self._entries(root):
                if is_folder:
                    self._dissolve(root, name)
                else:
                    os.unlink(name, dir_fd=root)
        finally:
            os.close(root)
        os.rmdir(self._name, dir_fd=self._parent)

    def _dissolve(self, root: int, name: str) -> None:
        """Delete a folder of the root; the folders in it become folders of the root."""
        if _rmdir(root, name):
            return
        folder = _open(root, name)
        try:
            for inner, is_folder in self._entries(folder):
                if not is_folder:
                    os.unlink(inner, dir_fd=folder)
                elif not _rmdir(folder, inner):
                    self._move_up(root, folder, inner)
        finally:
            os.close(folder)
        _rmdir(root, name)

    def _move_up(self, root: int, folder: int, name: str) -> None:
        os.close(_open(folder, name))  # a folder that moves must be writable
        os.rename(name, f"{self._prefix}{next(self._serial)}", src_dir_fd=folder, dst_dir_fd=root)

    def _entries(self, folder: int) -> Iterator[tuple[str, bool]]:
        """What is in a folder, and whether each is a folder, until nothing is left."""
        while True:
            with os.scandir(folder) as listing:
                entries = [
                    (entry.name, entry.is_dir(follow_symlinks=False)) for entry in islice(listing, _NAMES_AT_ONCE)
                ]
            if not entries:
                return
            for entry in entries:
                if time.monotonic() > self._deadline:
                    raise TimeoutError
                yield entry


def _rmdir(folder: int, name: str) -> bool:
    """Delete a folder if it is empty."""
    try:
        os.rmdir(name, dir_fd=folder)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _open(folder: int, name: str) -> int:
    """A descriptor of a folder that its owner may now read and change."""
    try:
        descriptor = os.open(name, _FOLDER, dir_fd=folder)
    except PermissionError:
        _allow(folder, name)
        descriptor = os.open(name, _FOLDER, dir_fd=folder)
    if os.fstat(descriptor).st_uid == os.geteuid():
        os.fchmod(descriptor, _OWNER_ONLY)
    return descriptor


def _allow(folder: int, name: str) -> None:
    """Open a closed folder of our own, and never what a link leads to."""
    if os.chmod in os.supports_follow_symlinks:
        os.chmod(name, _OWNER_ONLY, dir_fd=folder, follow_symlinks=False)
        return
    handle = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        Path(f"/proc/self/fd/{handle}").chmod(_OWNER_ONLY)
    finally:
        os.close(handle)
