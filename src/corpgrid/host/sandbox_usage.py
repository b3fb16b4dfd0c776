"""What a sandbox uses, measured from outside: memory, processes, and the disk below its work folder.

Only numbers are read here; nothing that a job wrote is opened, no link is followed, and every walk has an end.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from corpgrid.host.sandbox_tree import ProcessTree

MEMORY_FOLDERS = ("tmp", "dev/shm")
INODE_BYTES = 1024
"""What the kernel holds for a file in memory, beside its content."""

BLOCK_BYTES = 512
DEPTH_MAX = 64
"""Folders within folders that are walked; a deeper tree counts as too many files."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class WorkUsage(NamedTuple):
    """What lies below a work folder; ``files`` counts folders and all else that takes an inode."""

    size_bytes: int = 0
    files: int = 0


class _TooManyError(Exception):
    """The walk met more files than it was asked to count."""


def work_usage(folder: Path, *, files_max: int) -> WorkUsage:
    """Measure ``folder``; the walk ends soon after ``files_max`` files.

    A file counts with the larger of its length and the blocks it takes: a sparse file is as long for whoever copies it.
    """
    sizes: list[int] = []
    try:
        top = os.open(folder, _FOLDER)
    except OSError:
        return WorkUsage()
    try:
        for size in _sizes(top, depth=0):
            sizes.append(size)
            if len(sizes) > files_max:
                break
    except _TooManyError:
        return WorkUsage(sum(sizes), files_max + 1)
    finally:
        os.close(top)
    return WorkUsage(sum(sizes), len(sizes))


def _sizes(folder: int, *, depth: int) -> Iterator[int]:
    if depth > DEPTH_MAX:
        raise _TooManyError
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                status = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            if stat.S_ISDIR(status.st_mode):
                yield 0
                yield from _sizes_below(folder, entry.name, depth=depth)
            else:
                yield max(status.st_size, status.st_blocks * BLOCK_BYTES)


def _sizes_below(parent: int, name: str, *, depth: int) -> Iterator[int]:
    try:
        folder = _open_folder(parent, name)
    except OSError:
        return
    try:
        yield from _sizes(folder, depth=depth + 1)
    finally:
        os.close(folder)


def _open_folder(parent: int, name: str) -> int:
    """A folder's descriptor; one that its owner closed is opened again, for nothing may hide in it."""
    try:
        return os.open(name, _FOLDER, dir_fd=parent)
    except PermissionError:
        handle = os.open(name, os.O_PATH | _FOLDER, dir_fd=parent)
        try:
            os.chmod(f"/proc/self/fd/{handle}", stat.S_IRWXU)  # noqa: PTH101 - a descriptor's path
        finally:
            os.close(handle)
        return os.open(name, _FOLDER, dir_fd=parent)


def deleted_bytes(tree: ProcessTree, device: int) -> int:
    """Bytes on ``device`` of files that have no name left but are open or mapped in the sandbox."""
    sizes: dict[int, int] = {}
    for name in tree.members():
        for inode, size in [*_deleted_and_mapped(tree, name, device), *_deleted_and_open(tree, name, device)]:
            sizes[inode] = max(size, sizes.get(inode, 0))
    return sum(sizes.values())


def _deleted_and_open(tree: ProcessTree, name: str, device: int) -> Iterator[tuple[int, int]]:
    for number in tree.names(f"proc/{name}/fd"):
        status = tree.status(f"proc/{name}/fd/{number}")
        if status is not None and status.st_nlink == 0 and status.st_dev == device:
            yield status.st_ino, status.st_blocks * BLOCK_BYTES


def _deleted_and_mapped(tree: ProcessTree, name: str, device: int) -> Iterator[tuple[int, int]]:
    numbers = f"{os.major(device):02x}:{os.minor(device):02x}".encode()
    for line in tree.read(f"{name}/maps").splitlines():
        if line.endswith(b"(deleted)"):
            addresses, _, _, mapped_device, inode, _ = line.split(maxsplit=5)
            if mapped_device == numbers:
                start, end = addresses.split(b"-")
                yield int(inode), int(end, 16) - int(start, 16)


def task_count(tree: ProcessTree) -> int:
    """Processes and threads, the sandbox's first process left out."""
    return sum(_field(tree.read(f"{name}/status"), b"Threads:") for name in tree.members() if name != "1")


def memory_bytes(tree: ProcessTree, *, enough: int) -> int:
    """Memory in use: a quick sum up to ``enough``; above it shared pages are counted once, which takes longer."""
    files = _memory_files_bytes(tree)
    quick = files
    for name in tree.members():
        status = tree.read(f"{name}/status")
        quick += (_field(status, b"RssAnon:") + _field(status, b"RssShmem:")) << 10
    return quick if quick <= enough else _exact_memory_bytes(tree, files)


def _exact_memory_bytes(tree: ProcessTree, files: int) -> int:
    private = shared = 0
    for name in tree.members():
        rollup = tree.read(f"{name}/smaps_rollup")
        # A process that hides its map is taken at its resident size.
        status = b"" if rollup else tree.read(f"{name}/status")
        private += _field(rollup, b"Pss_Anon:") + _field(status, b"RssAnon:")
        shared += _field(rollup, b"Pss_Shmem:") + _field(status, b"RssShmem:")
    # Files in memory may be mapped as well: each kind is counted, never both.
    return (private << 10) + max(shared << 10, files)


def _memory_files_bytes(tree: ProcessTree) -> int:
    total = 0
    for path in MEMORY_FOLDERS:
        folder = tree.folder(path)
        if folder is None:
            continue
        usage = os.fstatvfs(folder)
        os.close(folder)
        total += (usage.f_blocks - usage.f_bfree) * usage.f_frsize
        total += (usage.f_files - usage.f_ffree) * INODE_BYTES
    return total


def _field(content: bytes, name: bytes) -> int:
    start = content.find(b"\n" + name)
    if start < 0:
        return 0
    return int(content[start + 1 + len(name) :].split(maxsplit=1)[0])
