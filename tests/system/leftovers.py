"""What a grid can leave on its machine: processes, mounts, control groups and temporary files.

A test gives each grid a folder of its own, temporary files included (``TMPDIR``), and asks here what there is of it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator
from pathlib import Path

from corpgrid.host.cgroup import PREFIX

_OPEN_FOLDER = 0o711


Mount = tuple[bytes, ...]


def temporary_folder(folder: Path) -> Path:
    """A place for a grid's temporary files, that the job user may walk through."""
    made = folder / "tmp"
    made.mkdir(exist_ok=True)
    made.chmod(_OPEN_FOLDER)
    return made


def left_of(folder: Path, *, before: Collection[Mount] = ()) -> list[str]:
    """Processes, but for this one, that have to do with a folder, and mounts of it that they left in our own world.

    ``before`` are mounts that were there before them.
    """
    mark = str(folder).encode()
    ours = mounts()
    found = [f"mount {mount!r}" for mount in ours.difference(before) if any(mark in part for part in mount)]
    for process in Path("/proc").iterdir():
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            if (process / "stat").read_text().rpartition(")")[2].split()[0] in {"Z", "X"}:
                continue
            theirs = mounts(process) - ours
            if mark in (process / "cmdline").read_bytes() or any(mark in part for mount in theirs for part in mount):
                found.append(f"{process.name} {(process / 'cmdline').read_bytes()[:200]!r}")
    return found


def groups_of(agents: Collection[int]) -> list[Path]:
    """The control groups, of whatever version, that agents with these pids have made for their runners."""
    owners = set(map(str, agents))
    found = [
        Path(parent, name)
        for point in _cgroup_mounts()
        for parent, names, _ in os.walk(point)
        for name in names
        if name.startswith(PREFIX) and name.removeprefix(PREFIX).split(".")[0] in owners
    ]
    return sorted(found)


def mounts(process: Path = Path("/proc/self")) -> set[Mount]:
    """What of which file system a process sees where."""
    return {tuple(line.split()[3:5]) for line in (process / "mountinfo").read_bytes().splitlines()}


def _cgroup_mounts() -> Iterator[str]:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        head, _, tail = line.partition(" - ")
        if tail.split()[0] in {"cgroup", "cgroup2"}:
            yield head.split()[4]
