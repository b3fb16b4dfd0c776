"""The fields of a TOML table, each read as what it must be; what is not is an error that names it by its full path.

Sizes (``..._bytes``) may be whole numbers, or texts such as ``"2 GiB"``.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from corpgrid.config.values import Kind, parse
from corpgrid.errors import JobFileError

_T = TypeVar("_T")
_Word = TypeVar("_Word", bound=StrEnum)
_SHOWN_CHARACTERS = 60


class Table:
    """One table of a job file.

    Attributes:
        content: as TOML has it.
        folder: where the file stands.
    """

    def __init__(self, content: Mapping[str, Any], *, folder: Path, path: str = "") -> None:
        self.content = content
        self.folder = folder
        self._path = path

    def fault(self, name: str, must: str) -> JobFileError:
        """The error that says what a field is, and what it must be."""
        shown = repr(self.content.get(name))
        shown = shown if len(shown) <= _SHOWN_CHARACTERS else f"{shown[:_SHOWN_CHARACTERS]}..."
        return JobFileError(f"{self.path_of(name)} is {shown}; it must be {must}")

    def path_of(self, name: str) -> str:
        """A field's full name."""
        return f"{self._path}.{name}" if self._path else name

    def refuse_others(self, known: Iterable[str]) -> None:
        """See that it has no field beside these.

        Raises:
            JobFileError: it has one.
        """
        names = sorted(known)
        for name in self.content:
            if name not in names:
                nearest = difflib.get_close_matches(name, names, n=1)
                raise JobFileError(
                    f"there is no field {self.path_of(name)}; there are {', '.join(names)}",
                    remedy=f"Did you mean {self.path_of(nearest[0])}?" if nearest else "",
                )

    def text(self, name: str, default: str = "") -> str:
        """A text."""
        value = self.content.get(name, default)
        if not isinstance(value, str):
            raise self.fault(name, "a text")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts."""
        value = self.content.get(name, [])
        if not isinstance(value, list) or not all(isinstance(part, str) for part in value):
            raise self.fault(name, "a list of texts")
        return tuple(value)

    def whole(self, name: str, default: int) -> int:
        """A whole number."""
        value = self.content.get(name, default)
        if name.endswith("_bytes") and isinstance(value, str):
            try:
                value = parse(value, Kind(type=int))
            except ValueError:
                raise self.fault(name, 'a whole number of bytes, or a text such as "2 GiB"') from None
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.fault(name, "a whole number")
        return value

    def number(self, name: str, default: float | None) -> float | None:
        """A number, whole or not."""
        value = self.content.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float | None):
            raise self.fault(name, "a number")
        return value

    def member(self, name: str, kind: type[_Word], default: _Word) -> _Word:
        """A member of an enumeration, by its name."""
        value = self.content.get(name, default)
        if value not in list(kind):
            raise self.fault(name, f"one of {', '.join(kind)}")
        return kind(value)

    def table(self, name: str) -> Table:
        """A table; empty if it is not there."""
        value = self.content.get(name, {})
        if not isinstance(value, dict):
            raise self.fault(name, "a table")
        return Table(value, folder=self.folder, path=self.path_of(name))

    def table_or_word(self, name: str, field: str) -> Table:
        """A table; a text stands for a table with this one field."""
        value = self.content.get(name, {})
        if isinstance(value, str):
            return Table({field: value}, folder=self.folder, path=self.path_of(name))
        if not isinstance(value, dict):
            raise self.fault(name, f"a table, or the {field} alone")
        return self.table(name)

    def record(self, name: str, kind: type[_T]) -> _T:
        """A table as a dataclass."""
        return self.table(name).build(kind)

    def build(self, kind: type[_T], *, apart: Mapping[str, object] | None = None) -> _T:
        """This table as a dataclass all of whose fields have defaults; those named ``apart`` keep theirs."""
        known = [item.name for item in fields(kind)]  # type: ignore[arg-type]
        self.refuse_others(known)
        default = kind()
        names = [name for name in self.content if name not in (apart or {})]
        made: _T = replace(default, **{name: self._like(name, getattr(default, name)) for name in names})  # type: ignore[type-var]
        return made

    def path(self, name: str) -> Path:
        """A file below the job file's folder, that exists."""
        value = self.text(name)
        path = (self.folder / value).resolve()
        if not path.is_relative_to(self.folder):
            raise JobFileError(
                f"{self.path_of(name)} is {value!r}, which leads out of the job file's folder",
                remedy="Put the file below it, or a copy.",
            )
        if not path.is_file():
            raise JobFileError(
                f"{self.path_of(name)} is {value!r}, and there is no such file in {self.folder}",
                remedy="Correct the name, or create the file.",
            )
        return path

    def _like(self, name: str, default: Any) -> Any:
        """A field in the type of its default."""
        match default:
            case StrEnum():
                return self.member(name, type(default), default)
            case str():
                return self.text(name)
            case tuple():
                return self.texts(name)
            case int():
                return self.whole(name, default)
            case _:
                value = self.number(name, default)
                return value if value is None else float(value)
