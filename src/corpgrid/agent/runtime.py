"""The runtime folder: CorpGrid's own runner and the two packages that it needs, laid out for sandboxes to see.

* What goes in is listed here, file by file or package by package; the runner needs nothing else of CorpGrid.
* The folder's name is the digest of its content.  It is made beside its place and renamed into it, so that what is
  there is whole; a folder whose files are not what its name says is made again.
* Everybody may read it, nobody may change it.  Bytecode is made in advance: a runner starts twice as fast with it.
"""

from __future__ import annotations

import importlib.util
import os
import py_compile
import secrets
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from corpgrid.errors import ConfigError
from corpgrid.trust.digest import Hasher

_OWN = Path(__file__).parent.parent
_OWN_FILES = ("__init__.py", "errors.py")
_OWN_MODULES = ("__init__", "arrays", "data", "frames", "strict")
_OTHER_PACKAGES = ("msgpack", "cloudpickle")
_SUFFIXES = frozenset({".py", ".so", ".pyd"})
_FOLDER_MODE = 0o755
_FILE_MODE = 0o644


def lay_out(root: Path) -> Path:
    """The runtime folder below ``root``, made if it is not there, which takes half a second.

    Args:
        root: a folder that the sandbox's user can enter.

    Raises:
        ConfigError: a package that it needs is not installed.
    """
    files = {name: source.read_bytes() for name, source in _sources()}
    name = _digest_name(files)
    target = root / name
    if _digest_name(_present(target)) == name:
        return target
    root.mkdir(parents=True, exist_ok=True)
    root.chmod(_FOLDER_MODE)
    making = root / f".making-{secrets.token_hex(8)}"
    try:
        _write(files, making)
        if target.exists() and _digest_name(_present(target)) != name:
            target.rename(root / f"{making.name}-damaged")
        making.rename(target)
    except OSError:
        if _digest_name(_present(target)) != name:  # else another agent was faster
            raise
    finally:
        for leftover in root.glob(f"{making.name}*"):
            shutil.rmtree(leftover)
    return target


def _sources() -> Iterator[tuple[str, Path]]:
    """Name inside the folder, and where it comes from; in order."""
    for package in sorted(_OTHER_PACKAGES):
        yield from _package_files(package, _package_folder(package))
    for name in _OWN_FILES:
        yield f"corpgrid/{name}", _OWN / name
    yield from _package_files("corpgrid/runner", _OWN / "runner")
    for name in _OWN_MODULES:
        yield f"corpgrid/wire/{name}.py", _OWN / "wire" / f"{name}.py"
    yield "start.py", _OWN / "runner" / "start.py"


def _package_files(name: str, folder: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.rglob("*")):
        if path.suffix in _SUFFIXES:
            yield f"{name}/{path.relative_to(folder).as_posix()}", path


def _package_folder(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise ConfigError(f"the package {name} is not installed", remedy="Install CorpGrid again: its runner needs it.")
    return Path(spec.origin).parent


def _digest_name(files: Mapping[str, bytes]) -> str:
    """Of all names and contents, and of the interpreter whose bytecode lies beside them."""
    hasher = Hasher()
    hasher.update(str(sys.implementation.cache_tag).encode())
    for name in sorted(files):
        hasher.update(b"%b\0%d\0" % (name.encode(), len(files[name])))
        hasher.update(files[name])
    return hasher.digest().hex()[:32]


def _present(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.suffix in _SUFFIXES and path.is_file()
    }


def _write(files: Mapping[str, bytes], folder: Path) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        if path.suffix == ".py":
            _compile(path, seen_as=f"/runtime/{name}")
    for path in (folder, *folder.rglob("*")):
        path.chmod(_FOLDER_MODE if path.is_dir() else _FILE_MODE)
    os.sync()  # the name promises the content, also after a power cut


def _compile(path: Path, *, seen_as: str) -> None:
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    py_compile.compile(str(path), dfile=seen_as, doraise=True, invalidation_mode=mode)
