"""Named SQL: statements and migrations live in ``.sql`` files, not in Python.

* A file holds many statements, each after a line ``-- name: the_name``.
* A statement for many rows is written for one; ``for_rows`` repeats its ``VALUES (?, ...)``.
* A migration is a file ``0001_what_it_does.sql``; the numbers are 1, 2, 3 and so on without a gap.  A line ``-- oldest
  program: 3`` says that programs that know the schema only up to 3 go on working beside it; without it none older does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from types import MappingProxyType
from typing import NamedTuple

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
_ROW = re.compile(r"VALUES (\([?,\s]+\))")
_OLDEST = re.compile(r"^-- oldest program: (\d+)$", re.MULTILINE)


class Migration(NamedTuple):
    """One step of the schema."""

    number: int
    name: str
    script: str

    @property
    def oldest_program(self) -> int:
        """The oldest program, by the newest schema that it knows, that works on a store with this step taken."""
        said = _OLDEST.search(self.script)
        return int(said[1]) if said else self.number


class Statements:
    """The statements of one dialect, by name."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = texts
        self._rows: dict[str, str] = {}
        self._for_rows: dict[tuple[str, int], str] = {}

    def __getitem__(self, name: str) -> str:
        return self._texts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)

    def width(self, name: str) -> int:
        """How many values one row of a statement for many rows has."""
        return self._row(name).count("?")

    def for_rows(self, name: str, count: int) -> str:
        """A statement for many rows, for exactly ``count`` of them."""
        found = self._for_rows.get((name, count))
        if found is None:
            row = self._row(name)
            found = self._texts[name].replace(row, ", ".join([row] * count), 1)
            self._for_rows[(name, count)] = found
        return found

    def _row(self, name: str) -> str:
        found = self._rows.get(name)
        if found is None:
            match = _ROW.search(self._texts[name])
            assert match is not None, f"statement {name} has no row of values"
            found = self._rows[name] = match[1]
        return found


@cache
def statements(dialect: str) -> Statements:
    """All statements of a dialect."""
    texts: dict[str, str] = {}
    for source in _sql_files(files("corpgrid.stores") / dialect / "sql"):
        for name, text in split(source.read_text(encoding="utf-8")):
            assert name not in texts, f"two statements are named {name}"
            texts[name] = text
    return Statements(MappingProxyType(texts))


def split(source: str) -> Iterator[tuple[str, str]]:
    """The named statements of one file; what stands before the first name is a comment."""
    parts = _NAME.split(source)[1:]
    for name, text in zip(parts[::2], parts[1::2], strict=True):
        lines = (line for line in text.strip().splitlines() if not line.startswith("--"))
        yield name, "\n".join(lines)


def migrations(dialect: str) -> list[Migration]:
    """All migrations of a dialect, in order."""
    found = []
    for source in _sql_files(files("corpgrid.stores") / dialect / "sql" / "migrations"):
        number, _, name = source.name.removesuffix(".sql").partition("_")
        found.append(Migration(number=int(number), name=name, script=source.read_text(encoding="utf-8")))
    assert [migration.number for migration in found] == list(range(1, len(found) + 1)), found
    return found


def _sql_files(folder: Traversable) -> list[Traversable]:
    return sorted((entry for entry in folder.iterdir() if entry.name.endswith(".sql")), key=lambda entry: entry.name)
