"""Removing what a job left: whatever it holds, without following a link and however deep it goes."""

from __future__ import annotations

import os
import stat
from pathlib import Path

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove_tree(folder: Path) -> None:
    """Remove ``folder`` and all below it; nothing happens if it is not there.

    A tree may be deeper than a path or a process's descriptors can reach.  So folders are lifted to the top before they
    are emptied: no name is ever longer than two steps.

    Raises:
        OSError: something could not be removed.
    """
    try:
        top = os.open(folder, _FOLDER)
    except FileNotFoundError:
        return
    try:
        lifted = 0
        while names := os.listdir(top):  # noqa: PTH208 - a descriptor
            for name in names:
                lifted = _remove_or_lift(top, name, lifted)
    finally:
        os.close(top)
    folder.rmdir()


def _remove_or_lift(top: int, name: str, lifted: int) -> int:
    """Remove an entry of ``top``; of a folder, the files go and the folders come up.  How many came up so far."""
    if not stat.S_ISDIR(os.lstat(name, dir_fd=top).st_mode):
        os.unlink(name, dir_fd=top)
        return lifted
    inner = _open(top, name)
    try:
        for below in os.listdir(inner):  # noqa: PTH208 - a descriptor
            if stat.S_ISDIR(os.lstat(below, dir_fd=inner).st_mode):
                lifted += 1
                os.rename(below, f".lifted-{lifted}", src_dir_fd=inner, dst_dir_fd=top)
            else:
                os.unlink(below, dir_fd=inner)
    finally:
        os.close(inner)
    os.rmdir(name, dir_fd=top)
    return lifted


def _open(parent: int, name: str) -> int:
    """A folder's descriptor, opened to its owner first: a job may have closed it."""
    handle = os.open(name, os.O_PATH | _FOLDER, dir_fd=parent)
    try:
        os.chmod(f"/proc/self/fd/{handle}", stat.S_IRWXU)  # noqa: PTH101 - a descriptor's path
    finally:
        os.close(handle)
    return os.open(name, _FOLDER, dir_fd=parent)
