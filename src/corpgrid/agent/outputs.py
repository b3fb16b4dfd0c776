"""What a task left in its working folder: taken from a folder that a stranger made, and may still be changing.

* Every step goes from an open folder to a name in it (``dir_fd``, ``O_NOFOLLOW``): a folder that is swapped for a link
  in between leads nowhere, and nothing outside the folder is ever opened.
* Only regular files with one name are taken.  Links, pipes, sockets, devices and second names are refused, and with
  them the task: ``OutputError`` names the reason.
* Files are copied before they are stored, and never more of them than the limits allow: what a process of the job still
  does to them changes nothing.
* A file for which the disk has no room is not begun: other tasks of this device, and its owner, need what is left.
* Limits: ``output_files``, ``output_bytes``, ``output_depth``; ``output_ratio`` against files that are nearly all hole;
  ``output_name`` against names that do not mean the same file everywhere (``trust.paths``).
"""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import stat
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import closing, contextmanager
from io import FileIO
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from corpgrid.agent.removal import remove_tree
from corpgrid.domain.ids import Digest
from corpgrid.domain.job import Limits
from corpgrid.domain.messages import OutputFile
from corpgrid.errors import OutputError
from corpgrid.trust.paths import clash, path_fault

PutFile = Callable[[Path], Awaitable[Digest]]

MAX_HOLE_RATIO = 100
_HOLE_FREE_BYTES = 1 << 20
"""Small files may lie anywhere, in no block of their own."""
_COPY_BYTES = 1 << 20
_BLOCK_BYTES = 512
_PRIVATE = 0o700
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class StagedFile(NamedTuple):
    """A copy of one file, out of the job's reach."""

    name: str
    path: Path
    size_bytes: int


async def collect(folder: Path, *, limits: Limits, staging: Path, put_file: PutFile) -> tuple[OutputFile, ...]:
    """Store what lies in ``folder``, by name; then the folder is deleted, whatever came of it.

    Args:
        folder: as the runner left it.
        limits: of the task.
        staging: a folder that does not exist, on a disk with room for ``output_bytes``; it is made and deleted.
        put_file: stores a file and returns its digest.

    Raises:
        OutputError: something in it is refused; nothing of it counts.
        OSError: this device cannot keep it; its disk is full, for one.
    """
    try:
        staged = await asyncio.to_thread(stage, folder, limits=limits, staging=staging)
        return tuple([OutputFile(file.name, await put_file(file.path), file.size_bytes) for file in staged])
    finally:
        await asyncio.to_thread(remove_tree, staging)
        await asyncio.to_thread(remove_tree, folder)


def stage(folder: Path, *, limits: Limits, staging: Path) -> list[StagedFile]:
    """Copy every file in ``folder`` into ``staging``; blocks.

    Raises:
        OutputError: something in it is refused.
        OSError: there is no room for it.
    """
    staging.mkdir(mode=_PRIVATE)
    staged: list[StagedFile] = []
    room = limits.output_bytes
    with closing(_files(folder, limits)) as files:
        for name, descriptor in files:
            with os.fdopen(descriptor, "rb", buffering=0) as source:
                if len(staged) == limits.output_files:
                    raise OutputError("output_files", f"it left more files than output_files, {limits.output_files:,}")
                copy = staging / str(len(staged))
                size = _copy(name, source, copy, room=room)
            room -= size
            staged.append(StagedFile(name, copy, size))
    if fault := clash(file.name for file in staged):
        raise OutputError("output_name", fault)
    return staged


def _files(folder: Path, limits: Limits) -> Generator[tuple[str, int], None, None]:
    """Name and descriptor of every file, folder by folder; the caller closes the descriptor."""
    root = _open_root(folder)
    try:
        room = limits.output_files * (1 + limits.output_depth)  # each file in as many folders as may be
        waiting: list[tuple[str, ...]] = [()]
        while waiting:
            above = waiting.pop()
            with _descend(root, above) as here:
                names = _names(here, room)
                room -= len(names)
                for name in names:
                    inner = (*above, name)
                    if _is_folder(here, inner, limits):
                        waiting.append(inner)
                    else:
                        yield "/".join(inner), _open_file(here, inner)
    except OSError as cause:
        raise OutputError("output_read", f"what the task left cannot be read: {cause}") from None
    finally:
        os.close(root)


def _open_root(folder: Path) -> int:
    try:
        return os.open(folder, _FOLDER)
    except OSError as cause:
        raise OutputError("output_kind", f"the task's folder is none: {cause.strerror}") from None


@contextmanager
def _descend(root: int, parts: tuple[str, ...]) -> Iterator[int]:
    """The folder at this place, reached one step at a time, so that no step follows a link."""
    here = os.dup(root)
    try:
        for part in parts:
            below = os.open(part, _FOLDER, dir_fd=here)
            os.close(here)
            here = below
        yield here
    finally:
        os.close(here)


def _names(here: int, room: int) -> list[str]:
    """The names in a folder, in order; never more of them are read than are allowed."""
    with os.scandir(here) as entries:
        names = [entry.name for entry in islice(entries, room + 1)]
    if len(names) > room:
        raise OutputError("output_files", "it left more files and folders than output_files allows")
    return sorted(names)


def _is_folder(here: int, inner: tuple[str, ...], limits: Limits) -> bool:
    path = "/".join(inner)
    if fault := path_fault(path):
        raise OutputError("output_name", f"the name {path[:300]!r} cannot travel: {fault}")
    mode = os.stat(inner[-1], dir_fd=here, follow_symlinks=False).st_mode
    if stat.S_ISDIR(mode):
        if len(inner) > limits.output_depth:
            raise OutputError("output_depth", f"{path!r} is deeper than output_depth, {limits.output_depth}")
        return True
    if not stat.S_ISREG(mode):
        raise OutputError("output_kind", f"{path!r} is {_KINDS.get(stat.S_IFMT(mode), 'no file')}")
    return False


def _open_file(here: int, inner: tuple[str, ...]) -> int:
    """A descriptor of a regular file with one name; between the look and the opening it may have changed."""
    path = "/".join(inner)
    descriptor = os.open(inner[-1], _FILE, dir_fd=here)
    status = os.fstat(descriptor)
    fault = ""
    if not stat.S_ISREG(status.st_mode):
        fault = "is no file any more"
    elif status.st_nlink > 1:
        fault = "has a second name (a hard link)"
    if fault:
        os.close(descriptor)
        raise OutputError("output_kind", f"{path!r} {fault}")
    return descriptor


def _copy(name: str, source: FileIO, target: Path, *, room: int) -> int:
    """Copy a file, at most ``room`` bytes of it; how many it has."""
    status = os.fstat(source.fileno())
    if status.st_size > max(_HOLE_FREE_BYTES, status.st_blocks * _BLOCK_BYTES * MAX_HOLE_RATIO):
        raise OutputError("output_ratio", f"{name!r} is nearly all hole: {status.st_size:,} bytes in next to no blocks")
    if status.st_size > shutil.disk_usage(target.parent).free:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
    size = 0
    with target.open("xb", buffering=0) as file:
        while data := source.read(_COPY_BYTES):
            size += len(data)
            if size > room:
                raise OutputError("output_bytes", f"with {name!r}, it left more bytes than output_bytes allows")
            file.write(data)
    return size


_KINDS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
