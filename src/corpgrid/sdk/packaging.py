"""A signed bundle, ready to be sent: its bytes, the wheels it names, and what they ask of a device."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from corpgrid.domain.ids import Digest
from corpgrid.domain.job import Requirements
from corpgrid.host.detect import architecture, operating_system
from corpgrid.sdk.jobfile import JobFile
from corpgrid.sdk.packages import fetch_wheels, is_platform_bound
from corpgrid.sdk.packing import FUNCTION_FILE, folder_files, function_files, python_minor
from corpgrid.trust.bundle import BundleFile, CommandEntry, Entry, FunctionEntry, ModuleEntry, Wheel, build_bundle
from corpgrid.trust.digest import Hasher, digest
from corpgrid.trust.keys import PrivateKey

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A signed bundle with its wheels.

    Attributes:
        content: the bundle's bytes.
        wheels: the wheels it names, by digest.
        engine: what executes it.
        python: the minor version it needs, or empty.
        platform_bound: whether a wheel runs on this operating system and architecture only.
    """

    content: bytes
    digest: Digest
    engine: str
    wheels: Mapping[Digest, Path] = field(default_factory=dict)
    python: str = ""
    platform_bound: bool = False

    def bind(self, requirements: Requirements) -> Requirements:
        """The requirements, with what the package itself needs."""
        bound = replace(requirements, engine=self.engine)
        if self.python:
            bound = replace(bound, python=self.python)
        if self.platform_bound:
            bound = replace(bound, operating_systems=(operating_system(platform.system()),), architectures=(architecture(platform.machine()),))
        return bound


def pack_function(
    function: Callable[..., Any], *, packages: Path | Sequence[str] | None, cache: Path, key: PrivateKey
) -> Package:
    """A function's package; it needs this interpreter's minor version."""
    return _pack(function_files(function), FunctionEntry(file=FUNCTION_FILE), packages, cache, key, pickled=True)


def pack_job_file(file: JobFile, *, cache: Path, key: PrivateKey) -> Package:
    """A job file's package: its files with a Python entry or a command line."""
    files = folder_files(file.folder, file.files)
    entry: Entry = CommandEntry(argv=file.command)
    if file.entry:
        module, _, name = file.entry.partition(":")
        entry = ModuleEntry(module=module, name=name)
    return _pack(files, entry, file.packages, cache, key, pickled=False)


def _pack(  # noqa: PLR0913 - what a bundle is made of
    files: Mapping[str, BundleFile],
    entry: Entry,
    packages: Path | Sequence[str] | None,
    cache: Path,
    key: PrivateKey,
    *,
    pickled: bool,
) -> Package:
    paths = fetch_wheels(packages, cache=cache) if packages else []
    wheels = {_file_digest(path): path for path in paths}
    bound = is_platform_bound(paths)
    python = python_minor() if pickled or bound else ""
    engine = "command" if isinstance(entry, CommandEntry) else "python"
    content = build_bundle(
        files,
        engine=engine,
        entry=entry,
        key=key,
        python=python,
        environment=[Wheel(path.name, mark, path.stat().st_size) for mark, path in wheels.items()],
    )
    return Package(
        content=content, digest=digest(content), engine=engine, wheels=wheels, python=python, platform_bound=bound
    )


def _file_digest(path: Path) -> Digest:
    hasher = Hasher()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            hasher.update(chunk)
    return hasher.digest()
