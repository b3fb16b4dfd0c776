"""A signed bundle, ready to be sent: its bytes, the wheels it names, and what they ask of a device."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from corpgrid.domain.feasibility import gpus_wanted
from corpgrid.domain.ids import Digest
from corpgrid.domain.job import Requirements
from corpgrid.errors import UsageError
from corpgrid.host.detect import architecture, operating_system
from corpgrid.sdk.jobfile import JobFile
from corpgrid.sdk.packages import fetch_wheels, file_digest, is_platform_bound, provided_modules
from corpgrid.sdk.packing import python_minor
from corpgrid.sdk.sources import folder_files, require_entry
from corpgrid.trust.bundle import BundleFile, CommandEntry, Entry, FunctionEntry, ModuleEntry, Wheel, build_bundle
from corpgrid.trust.digest import digest
from corpgrid.trust.keys import PrivateKey

FUNCTION_FILE = "function.pkl"
_DEFAULT = Requirements()


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A signed bundle with its wheels.

    Attributes:
        content: the bundle's bytes, and ``digest`` theirs.
        requirements: the submitter's, and what the bundle itself needs.
        wheels: the wheels it names, by digest.
        modules: what can be imported from the wheels.
    """

    content: bytes
    digest: Digest
    requirements: Requirements
    wheels: Mapping[Digest, Path] = field(default_factory=dict)
    modules: frozenset[str] = frozenset()


def pack_function(function: bytes, *, wheels: Sequence[Path], requirements: Requirements, key: PrivateKey) -> Package:
    """The package of a pickled function; it needs this interpreter's minor version.

    Raises:
        BundleError: it is too large.
        UsageError: the requirements ask for what the function cannot have.
    """
    files = {FUNCTION_FILE: BundleFile(content=function, executable=False)}
    return _pack(files, FunctionEntry(file=FUNCTION_FILE), wheels, requirements, key)


def pack_job_file(file: JobFile, *, cache: Path, key: PrivateKey) -> Package:
    """A job file's package: its files with a Python entry or a command line.

    Raises:
        BundleError: a file or package is not there, or it is too much.
        JobFileError: the entry is not there.
        UsageError: the requirements ask for what it cannot have.
    """
    files = folder_files(file.folder, file.files)
    wheels = fetch_wheels(file.packages, cache=cache, base=file.folder) if file.packages else []
    entry: Entry = CommandEntry(argv=file.command)
    if file.entry:
        require_entry(file.entry, files, provided_modules(wheels))
        module, _, name = file.entry.partition(":")
        entry = ModuleEntry(module=module, name=name)
    return _pack(files, entry, wheels, file.requirements, key)


def _pack(
    files: Mapping[str, BundleFile],
    entry: Entry,
    paths: Iterable[Path],
    requirements: Requirements,
    key: PrivateKey,
) -> Package:
    wheels = {file_digest(path): path for path in paths}
    bound = bind(requirements, entry, list(wheels.values()))
    content = build_bundle(
        files,
        engine=bound.engine,
        entry=entry,
        key=key,
        python=bound.python if wheels or isinstance(entry, FunctionEntry) else "",
        environment=[Wheel(path.name, mark, path.stat().st_size) for mark, path in wheels.items()],
        gpus=gpus_wanted(requirements),
    )
    modules = provided_modules(wheels.values())
    return Package(content=content, digest=digest(content), requirements=bound, wheels=wheels, modules=modules)


def bind(requirements: Requirements, entry: Entry, wheels: Sequence[Path]) -> Requirements:
    """The requirements, with what the code itself needs.

    Raises:
        UsageError: they ask for something else, so that no device could have it.
    """
    engine = "command" if isinstance(entry, CommandEntry) else "python"
    asked = "" if requirements.engine == _DEFAULT.engine else requirements.engine
    bound = replace(requirements, engine=_agreed("engine", asked, engine, "the job's entry"))
    if wheels or isinstance(entry, FunctionEntry):
        whose = "what is pickled or fetched by this Python"
        bound = replace(bound, python=_agreed("python", bound.python, python_minor(), whose))
    wheel = next((wheel.name for wheel in wheels if is_platform_bound([wheel])), "")
    if wheel:
        system, machine = operating_system(platform.system()), architecture(platform.machine())
        bound = replace(
            bound,
            operating_systems=(_agreed("operating_systems", bound.operating_systems, system, wheel),),
            architectures=(_agreed("architectures", bound.architectures, machine, wheel),),
        )
    return bound


def _agreed(name: str, asked: str | tuple[str, ...], needed: str, whose: str) -> str:
    """What is needed, unless only something else was asked for."""
    choices = (asked,) if isinstance(asked, str) else asked
    if any(choices) and needed not in choices:
        raise UsageError(
            f"requirements.{name} is {' or '.join(choices)}, and {whose} needs {needed}",
            remedy=f"Leave out requirements.{name}.",
        )
    return needed
