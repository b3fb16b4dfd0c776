"""A job as a TOML file: the whole request in one readable place.

    name = "digits"
    entry = "search:evaluate"          # or: command = ["sh", "run.sh", "{gamma}"]
    files = ["search.py"]
    packages = "requirements.txt"

    [items.grid]                       # one task for each combination
    gamma = [0.001, 0.01]
    c = [1, 10]

Everything that can be known from the file alone is checked when it is read: an unknown field, a wrong type, a number
out of range, a placeholder that no item fills.  Each is an error that names the file and the field, and says what is
accepted.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from corpgrid.config import ClientConfig
from corpgrid.domain.job import Comparator, Isolation, Limits, Requirements, VerifyPolicy
from corpgrid.errors import JobFileError
from corpgrid.sdk.jobfile_fields import Table
from corpgrid.sdk.jobfile_items import read_items
from corpgrid.sdk.request import Request

_DAY_SECONDS = 86_400.0
_EXPIRES_SECONDS_MAX = 365 * _DAY_SECONDS
_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([A-Za-z_][A-Za-z0-9_]*)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFile:
    """A job file, read and checked.

    Attributes:
        folder: where the file stands; all paths are below it.
        name: for people, 1 to 200 printable characters; the file's name if it is left out.
        items: the arguments of the tasks.
        entry: ``module:function``; it is called with one item.  Give this or ``command``.
        command: a command line, a list of texts.  ``{name}`` is filled from the item where that is a table, ``{item}``
            is the item itself, ``{{`` and ``}}`` are plain braces.
        files: patterns of the files that go into the bundle; a folder's name stands for all that is in it.
        packages: a requirements file, or a list of requirements; the job's environment.
        inputs: names and files; every task finds the files under ``/in`` by these names.
        requirements: what a device must have.
        limits: what one task may take.
        verify: how results come to be believed; a table, or the mode alone.
        isolation: ``job`` for one warm runner for many tasks, ``task`` for a fresh one for each.
        priority: 0 to 100; higher goes first.
        tenant: on whose account, 1 to 64 letters, digits, ``.``, ``_`` and ``-``; if it is left out, ``client.tenant``
            of the configuration.
        expires_seconds: how long after its submission devices may start it, up to a year; if it is left out,
            ``client.job_days`` of the configuration.
    """

    folder: Path
    name: str
    items: Sequence[Any]
    entry: str = ""
    command: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    packages: Path | tuple[str, ...] | None = None
    inputs: Mapping[str, Path] = field(default_factory=dict)
    requirements: Requirements = field(default_factory=Requirements)
    limits: Limits = field(default_factory=Limits)
    verify: VerifyPolicy = field(default_factory=VerifyPolicy)
    isolation: Isolation = Isolation.JOB
    priority: int = 50
    tenant: str = ""
    expires_seconds: float | None = None

    def request(self, config: ClientConfig) -> Request:
        """What it asks for, besides code and arguments.

        Raises:
            UsageError: a field is out of range.
        """
        request = Request(
            name=self.name,
            inputs=self.inputs,
            verify=self.verify,
            requirements=self.requirements,
            limits=self.limits,
            isolation=self.isolation,
            priority=self.priority,
            tenant=self.tenant or config.tenant,
            expires_seconds=config.job_days * _DAY_SECONDS if self.expires_seconds is None else self.expires_seconds,
        )
        request.check()
        return request


def read_job_file(path: Path) -> JobFile:
    """Read a job file.

    Raises:
        JobFileError: it cannot be read, or a field is missing, unknown, of the wrong kind or out of range.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise JobFileError(f"cannot read {path}: {error.strerror}", remedy="Name a job file that exists.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise JobFileError(f"{path} is not TOML: {error}", remedy="Correct the named place.") from error
    try:
        file = _read(Table(content, folder=path.resolve().parent), default_name=path.stem)
        file.request(ClientConfig())
    except JobFileError as error:
        raise JobFileError(f"{path.name}: {error}", remedy=error.remedy) from error
    return file


def _read(table: Table, *, default_name: str) -> JobFile:
    table.refuse_others({item.name for item in fields(JobFile)} - {"folder"})
    entry, command, files = table.text("entry"), table.texts("command"), table.texts("files")
    _check_entry(entry, command, files)
    items = read_items(table.table("items"))
    _check_placeholders(command, items)
    expires = table.number("expires_seconds", None)
    if expires is not None and not 0 < expires <= _EXPIRES_SECONDS_MAX:
        raise table.fault("expires_seconds", f"a number above 0 and up to {_EXPIRES_SECONDS_MAX:,.0f}, a year")
    return JobFile(
        folder=table.folder,
        name=table.text("name", default_name),
        items=items,
        entry=entry,
        command=command,
        files=files,
        packages=_packages(table),
        inputs={name: table.table("inputs").path(name) for name in table.table("inputs").content},
        requirements=table.record("requirements", Requirements),
        limits=table.record("limits", Limits),
        verify=_verify(table),
        isolation=table.member("isolation", Isolation, Isolation.JOB),
        priority=table.whole("priority", 50),
        tenant=table.text("tenant"),
        expires_seconds=None if expires is None else float(expires),
    )


def _check_entry(entry: str, command: Sequence[str], files: Sequence[str]) -> None:
    if bool(entry) == bool(command):
        given = "both entry and command are" if entry else "neither entry nor command is"
        raise JobFileError(
            f"{given} given", remedy='Give one of entry = "module:function" and command = ["program", "argument", ...].'
        )
    if entry and (entry.count(":") != 1 or not all(entry.split(":"))):
        raise JobFileError(f"entry is {entry!r}", remedy='Write it as "module:function", such as "search:evaluate".')
    if entry and not files:
        raise JobFileError("files is missing", remedy="Name at least the file that holds the entry.")


def _check_placeholders(command: Sequence[str], items: Sequence[Any]) -> None:
    """Look at the first item: what it does not fill, no task fills."""
    first = items[0]
    known = {"item", *(first if isinstance(first, dict) else ())}
    for argument in command:
        for name in filter(None, _PLACEHOLDER.findall(argument)):
            if name not in known:
                raise JobFileError(
                    f"command has {{{name}}}, and the items have no such field; there are {', '.join(sorted(known))}",
                    remedy=f"Correct the placeholder, or write {{{{{name}}}}} for plain braces.",
                )


def _packages(table: Table) -> Path | tuple[str, ...] | None:
    value = table.content.get("packages")
    if value is None:
        return None
    return table.path("packages") if isinstance(value, str) else table.texts("packages")


def _verify(table: Table) -> VerifyPolicy:
    """A mode's name or a table; and in it a comparator's kind or a table."""
    verify = table.table_or_word("verify", "mode")
    policy: VerifyPolicy = verify.build(VerifyPolicy, apart={"comparator": None})
    if "comparator" not in verify.content:
        return policy
    comparator = verify.table_or_word("comparator", "kind").build(Comparator)
    return VerifyPolicy(
        **{item.name: getattr(policy, item.name) for item in fields(VerifyPolicy)} | {"comparator": comparator}
    )
