"""How a setting is declared: a dataclass field with its default, one line of documentation, and what it accepts.

    idle_seconds: float = setting(300.0, "how long nobody may have used it", 0, 86_400)
    folder: Path = located(Path, "{data}/agent", "where it keeps its files")

Where files belong differs by user and platform, so a located default is a template over ``Folders``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import field
from pathlib import Path
from platform import node
from typing import NamedTuple, TypeVar

T = TypeVar("T")
_WINDOWS_ADDRESS = "127.0.0.1:7421"


class Folders(NamedTuple):
    """What ``located`` templates are filled with.

    Attributes:
        data: files that a program keeps: the user's, or for root the machine's.
        config: files that people write.
        cache: files that can be made again.
        home: what ``~`` stands for.
        user: whose the machine is taken to be: the user's, or for root (a daemon) the machine's own.
        address: where a scheduler of this user listens.
    """

    data: Path
    config: Path
    cache: Path
    home: Path
    user: str
    address: str


def setting(
    default: T, doc: str, low: float | None = None, high: float | None = None, choices: tuple[str, ...] = ()
) -> T:
    """A field with a plain default, and the range or the words that it accepts."""
    made: T = field(default=default, metadata={"doc": doc, "low": low, "high": high, "choices": choices})
    return made


def located(kind: Callable[[str], T], template: str, doc: str) -> T:
    """A field whose default depends on the user and the platform."""

    def here() -> T:
        return kind(fill(template, folders_of(os.environ, platform=sys.platform, root=is_root())))

    made: T = field(default_factory=here, metadata={"doc": doc, "template": template})
    return made


def fill(template: str, folders: Folders) -> str:
    """A located default's text."""
    return template.format(**folders._asdict())


def is_root() -> bool:
    """Whether files belong to the machine instead of a user."""
    effective_user: Callable[[], int] | None = getattr(os, "geteuid", None)
    return effective_user is not None and effective_user() == 0


def folders_of(environ: Mapping[str, str], *, platform: str, root: bool) -> Folders:
    """Where files belong, by the custom of each platform."""
    home = Path(environ.get("HOME") or environ.get("USERPROFILE") or os.sep)
    places = {"win32": _windows, "darwin": _macos}.get(platform, _unix)
    data, config, cache = places(environ, home, root)
    user = "" if root else environ.get("USER") or environ.get("LOGNAME") or environ.get("USERNAME") or ""
    address = _WINDOWS_ADDRESS if platform == "win32" else f"unix:{data}/scheduler/scheduler.sock"
    return Folders(data, config, cache, home, user or node(), address)


_Places = tuple[Path, Path, Path]


def _unix(environ: Mapping[str, str], home: Path, root: bool) -> _Places:  # noqa: FBT001  # one signature for three
    def place(variable: str, machine: str, user: str) -> Path:
        return Path(environ.get(variable) or (machine if root else home / user)) / "corpgrid"

    return (
        place("XDG_DATA_HOME", "/var/lib", ".local/share"),
        place("XDG_CONFIG_HOME", "/etc", ".config"),
        place("XDG_CACHE_HOME", "/var/cache", ".cache"),
    )


def _macos(environ: Mapping[str, str], home: Path, root: bool) -> _Places:  # noqa: ARG001, FBT001  # as above
    library = (Path("/") if root else home) / "Library"
    support = library / "Application Support" / "corpgrid"
    return support, support, library / "Caches" / "corpgrid"


def _windows(environ: Mapping[str, str], home: Path, root: bool) -> _Places:  # noqa: FBT001  # as above
    base = environ.get("PROGRAMDATA" if root else "LOCALAPPDATA")
    folder = (Path(base) if base else home / "AppData" / "Local") / "corpgrid"
    return folder, folder, folder / "cache"
