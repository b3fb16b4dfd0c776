"""Code into bundles: a Python function with all that it refers to, or a folder with an entry.

* A function is pickled *by value* (cloudpickle), together with every module of the caller that is not installed: what
  runs on a device is what stands here, not what happens to be installed there.  It needs the same minor version of
  Python.
* Source files travel as they are, and run on any Python that the entry supports.
* The pickle is inside the signed bundle, and nowhere else: results come back as data.
"""

from __future__ import annotations

import io
import platform
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle

from corpgrid.errors import BundleError
from corpgrid.trust.bundle import BundleFile

FUNCTION_FILE = "function.pkl"


def python_minor() -> str:
    """This interpreter's minor version, such as ``3.11``."""
    return ".".join(platform.python_version_tuple()[:2])


def function_files(function: Callable[..., Any]) -> dict[str, BundleFile]:
    """A bundle's files for a function.

    Raises:
        BundleError: it refers to something that cannot travel, such as an open file or a lock.
    """
    buffer = io.BytesIO()
    with _local_modules_by_value():
        try:
            cloudpickle.CloudPickler(buffer).dump(function)
        except Exception as error:
            name = getattr(function, "__qualname__", repr(function))
            raise BundleError(
                f"{name} cannot travel: {error}",
                remedy="Open files, locks and connections inside the function, not outside of it.",
            ) from error
    return {FUNCTION_FILE: BundleFile(content=buffer.getvalue(), executable=False)}


def folder_files(base: Path, patterns: Sequence[str]) -> dict[str, BundleFile]:
    """A bundle's files for a folder: everything that matches, by its path below ``base``.

    Raises:
        BundleError: a pattern matches nothing, or leads out of the folder.
    """
    found: dict[str, BundleFile] = {}
    for pattern in patterns:
        matches = [path for path in _expand(base, pattern) if path.is_file()]
        if not matches:
            raise BundleError(
                f"files: {pattern!r} matches nothing in {base}", remedy="Correct the pattern, or create the file."
            )
        for path in matches:
            name = path.relative_to(base).as_posix()
            executable = bool(path.stat().st_mode & 0o100)
            found[name] = BundleFile(content=path.read_bytes(), executable=executable)
    return found


def _expand(base: Path, pattern: str) -> Iterable[Path]:
    if Path(pattern).is_absolute() or ".." in Path(pattern).parts:
        raise BundleError(f"files: {pattern!r} leads out of {base}", remedy="Name files below the job file's folder.")
    direct = base / pattern
    if direct.is_dir():
        return sorted(path for path in direct.rglob("*") if "__pycache__" not in path.parts)
    return sorted(base.glob(pattern))


@contextmanager
def _local_modules_by_value() -> Iterator[None]:
    registered = []
    for module in list(sys.modules.values()):
        if is_local(module):
            cloudpickle.register_pickle_by_value(module)
            registered.append(module)
    try:
        yield
    finally:
        for module in registered:
            cloudpickle.unregister_pickle_by_value(module)


def is_local(module: ModuleType) -> bool:
    """Whether a module is the caller's own code: on disk, not installed, and neither Python's nor CorpGrid's."""
    origin = getattr(module, "__file__", None)
    name = getattr(module, "__name__", "")
    if not isinstance(origin, str) or name == "__main__" or name.partition(".")[0] == "corpgrid":
        return False
    if name.partition(".")[0] in sys.stdlib_module_names or name not in sys.modules:
        return False
    return not any(Path(origin).is_relative_to(folder) for folder in _installed_folders())


def _installed_folders() -> list[str]:
    paths: Mapping[str, str] = sysconfig.get_paths()
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    return [paths[name] for name in names] + [sys.base_prefix + "/lib", "/usr/lib/python3/dist-packages"]
