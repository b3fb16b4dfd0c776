"""A job as a TOML file: the whole request in one readable place.

    name = "digits"
    entry = "search:evaluate"          # or: command = ["sh", "run.sh", "{gamma}"]
    files = ["search.py"]
    packages = "requirements.txt"

    [items.grid]                       # one task for each combination
    gamma = [0.001, 0.01]
    c = [1, 10]

Every table is checked: an unknown field is an error that names the field and the ones that exist.
"""

from __future__ import annotations

import itertools
import json
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from corpgrid.domain.job import Comparator, Isolation, Limits, Requirements, VerifyPolicy
from corpgrid.errors import JobFileError

_T = TypeVar("_T")
_EXPIRES_SECONDS = 7 * 24 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFile:
    """A job file, read and checked.

    Attributes:
        folder: where the file stands; all paths are below it.
        entry: ``module:function``, or empty.
        command: a command line with placeholders, or empty.
        files: patterns of files for the bundle.
        packages: requirements file or names; None without packages.
        items: the tasks' arguments.
        expires_seconds: how long devices may start it.
    """

    folder: Path
    name: str
    items: list[Any]
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
    tenant: str = "default"
    expires_seconds: float = _EXPIRES_SECONDS


def read_job_file(path: Path) -> JobFile:
    """Read a job file.

    Raises:
        JobFileError: it cannot be read, or a field is missing, unknown or of the wrong kind.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise JobFileError(f"cannot read {path}: {error.strerror}", remedy="Name a job file that exists.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise JobFileError(f"{path} is not TOML: {error}") from error
    return _Reader(path, table).read()


class _Reader:
    def __init__(self, path: Path, table: dict[str, Any]) -> None:
        self.path = path
        self.folder = path.resolve().parent
        self.table = table

    def read(self) -> JobFile:
        accepted = {item.name for item in fields(JobFile)} - {"folder"}
        self._refuse_unknown("", self.table, accepted)
        entry, command = self._text("entry", ""), self._texts("command")
        if bool(entry) == bool(command):
            raise self._fault("entry", 'give either entry = "module:function" or command = ["program", ...]')
        if entry and (entry.count(":") != 1 or not all(entry.split(":"))):
            raise self._fault("entry", f"{entry!r} is not of the form module:function")
        files = self._texts("files")
        if entry and not files:
            raise self._fault("files", "missing; name at least the file that holds the entry")
        return JobFile(
            folder=self.folder,
            name=self._text("name", self.path.stem)[:200],
            items=self._items(),
            entry=entry,
            command=command,
            files=files,
            packages=self._packages(),
            inputs=self._inputs(),
            requirements=self._record("requirements", Requirements),
            limits=self._record("limits", Limits),
            verify=self._verify(),
            isolation=self._one_of("isolation", Isolation, Isolation.JOB),
            priority=self._typed("priority", int, 50),
            tenant=self._text("tenant", "default"),
            expires_seconds=float(self._typed("expires_seconds", (int, float), _EXPIRES_SECONDS)),
        )

    def _items(self) -> list[Any]:
        table = self._typed("items", dict, {})
        makers: dict[str, Callable[[Any], list[Any]]] = {
            "grid": self._grid,
            "list": self._list,
            "range": self._range,
            "lines": self._lines,
            "jsonl": self._jsonl,
        }
        self._refuse_unknown("items", table, set(makers))
        if len(table) != 1:
            raise self._fault("items", "needs exactly one of " + ", ".join(sorted(makers)))
        ((kind, value),) = table.items()
        items = makers[kind](value)
        if not items:
            raise self._fault(f"items.{kind}", "is empty; a job needs at least one task")
        return items

    def _grid(self, value: Any) -> list[Any]:
        if not isinstance(value, dict) or not all(isinstance(choices, list) for choices in value.values()):
            raise self._fault("items.grid", "must be a table of lists, such as gamma = [0.1, 0.2]")
        return [dict(zip(value, chosen, strict=True)) for chosen in itertools.product(*value.values())]

    def _list(self, value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise self._fault("items.list", "must be a list")
        return value

    def _range(self, value: Any) -> list[Any]:
        if not isinstance(value, list) or not all(type(part) is int for part in value) or not 1 <= len(value) <= 3:  # noqa: PLR2004 - range's own arity
            raise self._fault("items.range", "must be one to three whole numbers, such as [0, 100]")
        return list(range(*value))

    def _lines(self, value: Any) -> list[Any]:
        return self._existing("items.lines", value).read_text(encoding="utf-8").splitlines()

    def _jsonl(self, value: Any) -> list[Any]:
        found = []
        for number, line in enumerate(self._lines(value), start=1):
            try:
                found.append(json.loads(line))
            except ValueError as error:
                raise self._fault("items.jsonl", f"line {number} of {value} is not JSON: {error}") from error
        return found

    def _packages(self) -> Path | tuple[str, ...] | None:
        value = self.table.get("packages")
        if value is None:
            return None
        return self._existing("packages", value) if isinstance(value, str) else self._texts("packages")

    def _inputs(self) -> dict[str, Path]:
        table = self._typed("inputs", dict, {})
        return {name: self._existing(f"inputs.{name}", value) for name, value in table.items()}

    def _verify(self) -> VerifyPolicy:
        table = dict(self._typed("verify", dict, {}))
        comparator = table.pop("comparator", None)
        policy: VerifyPolicy = self._build("verify", table, VerifyPolicy, without={"comparator"})
        if comparator is None:
            return policy
        given = {"kind": comparator} if isinstance(comparator, str) else comparator
        if not isinstance(given, dict):
            raise self._fault("verify.comparator", "must be a name or a table")
        values = {item.name: getattr(policy, item.name) for item in fields(VerifyPolicy)}
        values["comparator"] = self._build("verify.comparator", given, Comparator)
        return VerifyPolicy(**values)

    def _record(self, name: str, kind: type[_T]) -> _T:
        return self._build(name, self._typed(name, dict, {}), kind)

    def _build(self, where: str, table: dict[str, Any], kind: type[_T], without: set[str] = frozenset()) -> _T:  # type: ignore[assignment]
        known = {item.name: item for item in fields(kind)}  # type: ignore[arg-type]
        self._refuse_unknown(where, table, set(known) - without)
        default = kind()
        values = {
            name: self._convert(f"{where}.{name}", value, getattr(default, name)) for name, value in table.items()
        }
        return kind(**values)

    def _convert(self, where: str, value: Any, default: Any) -> Any:
        """The value in the type of the field's default."""
        if isinstance(default, StrEnum):
            return self._member(where, value, type(default))
        if isinstance(default, tuple):
            if isinstance(value, list) and all(isinstance(part, str) for part in value):
                return tuple(value)
            raise self._fault(where, "must be a list of texts")
        wanted = (int, float) if isinstance(default, float) or default is None else type(default)
        if isinstance(value, bool) or not isinstance(value, wanted):
            raise self._fault(where, f"must be {_describe(default)}, not {value!r}")
        return float(value) if isinstance(default, float) else value

    def _one_of(self, name: str, kind: type[Any], default: Any) -> Any:
        return self._member(name, self.table[name], kind) if name in self.table else default

    def _member(self, where: str, value: Any, kind: type[Any]) -> Any:
        try:
            return kind(value)
        except ValueError as error:
            raise self._fault(
                where, f"{value!r} is not one of " + ", ".join(member.value for member in kind)
            ) from error

    def _existing(self, where: str, value: Any) -> Path:
        if not isinstance(value, str):
            raise self._fault(where, "must be a path below the job file's folder")
        path = (self.folder / value).resolve()
        if not path.is_relative_to(self.folder):
            raise self._fault(where, f"{value} leads out of the job file's folder")
        if not path.is_file():
            raise self._fault(where, f"there is no file {value}")
        return path

    def _text(self, name: str, default: str) -> str:
        return str(self._typed(name, str, default))

    def _texts(self, name: str) -> tuple[str, ...]:
        value = self._typed(name, list, [])
        if not all(isinstance(part, str) for part in value):
            raise self._fault(name, "must be a list of texts")
        return tuple(value)

    def _typed(self, name: str, kind: type[Any] | tuple[type[Any], ...], default: Any) -> Any:
        value = self.table.get(name, default)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self._fault(name, f"must be {_describe(default)}, not {value!r}")
        return value

    def _refuse_unknown(self, where: str, table: Mapping[str, Any], accepted: set[str]) -> None:
        for name in table:
            if name not in accepted:
                full = f"{where}.{name}" if where else name
                raise self._fault(full, "no such field; there are " + ", ".join(sorted(accepted)))

    def _fault(self, where: str, what: str) -> JobFileError:
        return JobFileError(f"{self.path.name}: {where}: {what}")


def _describe(default: Any) -> str:
    match default:
        case bool():
            return "true or false"
        case int():
            return "a whole number"
        case float() | None:
            return "a number"
        case str():
            return "a text"
        case dict():
            return "a table"
        case _:
            return "a list"
