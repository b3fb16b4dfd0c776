"""The packages that a job's code imports, as wheels that travel with it.

The submitter's machine fetches the wheels once, by its own ``pip`` and from wherever that is set up to look; the
bundle's manifest binds each wheel by digest, and a device installs them without asking anybody.

* Wheels are kept in a cache folder by what was asked for and for which Python, so that a second submission asks nobody.
  What was asked for includes the content of every local file that the requirements name.
* Only wheels travel: nothing is built on a device, and nothing of a package is run to install it.
* They fit the Python for which they were fetched, so a job that has any asks for that Python; and for this system and
  architecture, if one of them does.
"""

from __future__ import annotations

import functools
import hashlib
import json
import platform
import re
import secrets
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from corpgrid.domain.ids import Digest
from corpgrid.errors import BundleError
from corpgrid.sdk.packing import python_minor
from corpgrid.trust.digest import Hasher

Packages = Path | str | Sequence[str]
_PIP_SECONDS = 600.0
_CHUNK_BYTES = 1 << 20
_CANNOT = "It needs a wheel for each: try `pip download --only-binary=:all:` with the same names."
_IN_DATA = re.compile(r"[^/]+\.data/(?:purelib|platlib)/([^/]+)")
_DEEPEST = 8
_OF_SOURCES = ("pyproject.toml", "setup.py")
_TOKENS = re.compile(r"[\s=@]+")


def fetch_wheels(packages: Packages, *, cache: Path, base: Path = Path()) -> list[Path]:
    """The wheels of a locked requirements file, or of package names.

    Args:
        packages: the path of a requirements file (hashes in it are enforced), or a list of requirements such as
            ``numpy==2.1.0`` or ``./mine-1.0-py3-none-any.whl``.
        cache: folder for fetched wheels.
        base: what a relative path in a list is relative to.

    Returns:
        Paths of the wheels, by file name.

    Raises:
        BundleError: a package cannot be found as a wheel for this Python.
    """
    if isinstance(packages, Path | str):
        file = Path(packages)
        lines, base, asked = _lines(file), file.parent, ["--requirement", str(file.resolve())]
    else:
        lines = asked = sorted(packages)
        if any(not text or text.startswith("-") for text in lines):
            raise BundleError(f"packages: {lines} has an entry that is no package", remedy=_CANNOT)
    if not lines:
        return []
    platform_ = [python_minor(), sys.platform, platform.machine()]
    key = json.dumps([lines, sorted(_local_digests(lines, base)), platform_])
    kept = cache.absolute() / "wheels" / hashlib.sha256(key.encode()).hexdigest()[:32]
    if not kept.is_dir():
        try:
            _download(asked, kept, base)
        except OSError as error:
            raise BundleError(
                f"packages: the wheels cannot be kept in {kept.parent}: {error.strerror}",
                remedy="Set client.cache_folder to a folder in which this user can write.",
            ) from error
    return sorted(kept.iterdir())


def is_platform_bound(wheels: Iterable[Path]) -> bool:
    """Whether any of the wheels runs on one operating system and architecture only."""
    return any(not wheel.stem.endswith("-any") for wheel in wheels)


def file_digest(path: Path) -> Digest:
    """The digest of a file; read again only when its size or time changed."""
    status = path.stat()
    return _digest(path, status.st_size, status.st_mtime_ns)


def provided_modules(wheels: Iterable[Path]) -> frozenset[str]:
    """The names that can be imported once these wheels are installed."""
    return frozenset(name for wheel in wheels for name in _modules_of(wheel, wheel.stat().st_mtime_ns))


@functools.lru_cache(maxsize=4_096)
def _digest(path: Path, _size: int, _mtime_ns: int) -> Digest:
    hasher = Hasher()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            hasher.update(chunk)
    return hasher.digest()


@functools.lru_cache(maxsize=4_096)
def _modules_of(wheel: Path, _mtime_ns: int) -> frozenset[str]:
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile) as error:
        raise BundleError(f"packages: {wheel.name} is no wheel: {error}", remedy="Fetch or build it again.") from error
    tops = ((found[1] if (found := _IN_DATA.match(name)) else name.partition("/")[0]) for name in names)
    return frozenset(top.partition(".")[0] for top in tops if not top.endswith((".dist-info", ".data")))


def _lines(file: Path) -> list[str]:
    """What a requirements file asks for: without comments, and with what hashes it demands."""
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise BundleError(
            f"packages: there is no requirements file {str(file)!r}",
            remedy=f'Name a file that exists; for names, give a list: packages=["{file.name}"].',
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(f"packages: cannot read {file}: {error}", remedy="Name a requirements file.") from error
    stripped = (re.sub(r"(^|\s)#.*", "", line).strip() for line in text.splitlines())
    return [line for line in stripped if line]


def _local_digests(lines: Iterable[str], base: Path, *, depth: int = 0) -> Iterator[str]:
    """The content of every local file that the lines name, and that those name in turn.

    Raises:
        BundleError: they name sources: pip would fetch their dependencies and leave them out.
    """
    for token in {token for line in lines for token in _TOKENS.split(line) if token}:
        path = base / token.removeprefix("file://")
        if any((path / name).is_file() for name in _OF_SOURCES):
            raise BundleError(
                f"packages: {token} is a folder of sources, and nothing is built on the way",
                remedy=f"Build a wheel with `pip wheel --no-deps {token}`, and name that.",
            )
        if depth > _DEEPEST or not path.is_file():
            continue
        yield f"{path.name} {file_digest(path).hex()}"
        if path.suffix == ".txt":
            yield from _local_digests(_lines(path), path.parent, depth=depth + 1)


def _download(asked: Sequence[str], kept: Path, base: Path) -> None:
    """Fetch the wheels beside their place, and move them there at once."""
    work = kept.with_name(f".fetching-{secrets.token_hex(8)}")
    work.mkdir(parents=True)
    try:
        _pip(["download", "--quiet", "--only-binary=:all:", "--dest", str(work), *asked], cwd=base)
        strangers = sorted(path.name for path in work.iterdir() if path.suffix != ".whl")
        if strangers:
            raise BundleError(f"packages: {', '.join(strangers)} is no wheel", remedy=_CANNOT)
        work.rename(kept)
    except OSError:
        if not kept.is_dir():  # nobody else fetched the same at the same time
            raise
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _pip(arguments: Sequence[str], *, cwd: Path) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments]
    try:
        done = subprocess.run(
            command, cwd=cwd.absolute(), capture_output=True, text=True, timeout=_PIP_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise BundleError(
            f"packages: pip did not finish within {_PIP_SECONDS:g} s", remedy="Is the network there?  Try again."
        ) from None
    if done.returncode != 0:
        raise BundleError(f"packages: pip could not fetch the wheels: {_last_error(done.stderr)}", remedy=_CANNOT)


def _last_error(text: str) -> str:
    errors = [line for line in text.splitlines() if line.startswith("ERROR")]
    return (errors or text.strip().splitlines() or ["it did not say why"])[-1].removeprefix("ERROR: ")
