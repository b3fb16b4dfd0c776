"""Where this process's control groups lie: pure functions over ``/proc/self/mountinfo`` and ``/proc/self/cgroup``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class _Mount(NamedTuple):
    point: str
    root: str
    kind: str
    options: frozenset[str]


def own_groups(mountinfo: str, membership: str) -> dict[str, Path]:
    """This process's folder by controller; version 2's has the name ``unified``.

    Args:
        mountinfo: the text of ``/proc/self/mountinfo``.
        membership: the text of ``/proc/self/cgroup``.
    """
    mounts = list(_mounts(mountinfo))
    found: dict[str, Path] = {}
    for line in membership.splitlines():
        _, controllers, path = line.split(":", maxsplit=2)
        for controller in controllers.split(","):
            folder = _folder(mounts, controller, path)
            if folder is not None:
                found[controller or "unified"] = folder
    return found


def _mounts(mountinfo: str) -> Iterator[_Mount]:
    for line in mountinfo.splitlines():
        head, _, tail = line.partition(" - ")
        fields, (kind, _, options) = head.split(), tail.split(maxsplit=2)
        if kind in {"cgroup", "cgroup2"}:
            yield _Mount(_unescape(fields[4]), _unescape(fields[3]), kind, frozenset(options.split(",")))


def _folder(mounts: list[_Mount], controller: str, path: str) -> Path | None:
    for mount in mounts:
        if mount.kind == ("cgroup" if controller else "cgroup2") and (not controller or controller in mount.options):
            return Path(os.path.normpath(f"{mount.point}/{os.path.relpath(path, mount.root)}"))
    return None


def _unescape(field: str) -> str:
    """Blanks in a path are written as octal numbers."""
    return field.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
