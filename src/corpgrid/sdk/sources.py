"""Files of a folder into a bundle, as they are; and whether the entry that a job names is among them.

* A pattern names files below the job file's folder, and nothing outside of it: not by ``..``, and not by a link.
* A folder's own name stands for all that is in it, but for bytecode.
* How large it all is is known before any of it is read.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from corpgrid.errors import BundleError, JobFileError
from corpgrid.trust.bundle import BundleFile
from corpgrid.trust.limits import MAX_BUNDLE_BYTES, MAX_BUNDLE_FILES

_DEFINED = re.compile(r"^(?:async def|def|class) +(\w+)|^(\w+) *[:=]", re.MULTILINE)
_EXECUTABLE = 0o100
_SMALLER = "Name fewer files; pass large ones as inputs of the job instead: they are stored once, and cached."


def folder_files(base: Path, patterns: Sequence[str]) -> dict[str, BundleFile]:
    """A bundle's files: everything that matches, by its path below ``base``.

    Raises:
        BundleError: a pattern matches nothing or leads out of the folder, a file cannot be read, or it is too much.
    """
    found = {path.relative_to(base).as_posix(): path for pattern in patterns for path in _matches(base, pattern)}
    _require_room(found.values())
    return {name: _read(path) for name, path in sorted(found.items())}


def require_entry(entry: str, files: Mapping[str, BundleFile], provided: Iterable[str]) -> None:
    """See that the module of ``module:function`` is among the files or packages, and says the function's name.

    Raises:
        JobFileError: it is not there, or does not.
    """
    module, _, name = entry.partition(":")
    path = module.replace(".", "/")
    source = next((files[file] for file in (f"{path}.py", f"{path}/__init__.py") if file in files), None)
    if source is None:
        if module.partition(".")[0] in provided:
            return
        raise JobFileError(
            f"entry: there is no {path}.py among the files of the job, which are {_some(files)}",
            remedy=f"Add {path}.py to files, or correct the entry.",
        )
    text = source.content.decode(errors="replace")
    first = name.partition(".")[0]
    if re.search(rf"\b{re.escape(first)}\b", text) or "import *" in text:
        return
    defined = ["".join(match) for match in _DEFINED.findall(text)]
    nearest = difflib.get_close_matches(first, defined, n=1)
    raise JobFileError(
        f"entry: {path}.py has no {first}",
        remedy=f"Did you mean {module}:{nearest[0]}?" if nearest else f"Define {first} there, or correct the entry.",
    )


def _matches(base: Path, pattern: str) -> list[Path]:
    if not pattern or Path(pattern).is_absolute() or ".." in Path(pattern).parts:
        raise _outside(base, pattern)
    try:
        direct = base / pattern
        paths = direct.rglob("*") if direct.is_dir() else base.glob(pattern)
        files = sorted(path for path in paths if path.is_file() and "__pycache__" not in path.parts)
    except (ValueError, OSError) as error:
        raise BundleError(f"files: {pattern!r} cannot be looked for: {error}", remedy="Correct the pattern.") from error
    if not files:
        raise BundleError(
            f"files: {pattern!r} matches nothing in {base}", remedy="Correct the pattern, or create the file."
        )
    root = base.resolve()
    for path in files:
        if not path.resolve().is_relative_to(root):
            raise _outside(base, path.relative_to(base).as_posix())
    return files


def _require_room(paths: Iterable[Path]) -> None:
    sizes = [path.stat().st_size for path in paths]
    for name, limit, got, what in (
        ("MAX_BUNDLE_BYTES", MAX_BUNDLE_BYTES, sum(sizes), "bytes of files"),
        ("MAX_BUNDLE_FILES", MAX_BUNDLE_FILES, len(sizes), "files"),
    ):
        if got > limit:
            raise BundleError(
                f"the bundle is too large: it has {got:,} {what} where {name} allows {limit:,}", remedy=_SMALLER
            )


def _read(path: Path) -> BundleFile:
    try:
        with path.open("rb") as file:
            return BundleFile(content=file.read(), executable=bool(os.fstat(file.fileno()).st_mode & _EXECUTABLE))
    except OSError as error:
        raise BundleError(f"files: cannot read {path}: {error.strerror}", remedy="Let this user read it.") from error


def _outside(base: Path, name: str) -> BundleError:
    return BundleError(f"files: {name!r} leads out of {base}", remedy="Name files below the job file's folder.")


def _some(names: Iterable[str]) -> str:
    shown = sorted(names)
    return ", ".join(shown[:5]) + (f" and {len(shown) - 5} more" if len(shown) > 5 else "")
