"""What a command prints: a table for people, ``--json`` for programs, or only ids (``--quiet``).

* A listing in JSON is one array of objects; a single thing is one object; nothing else goes to standard output.
* For people, colours and live lines appear only on a terminal; in a pipe the same text comes as plain lines.
* Text that came from a device (logs, tracebacks) is escaped: no control character of it reaches the terminal.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any

import click

from corpgrid.errors import CorpGridError

Row = Mapping[str, Any]


class Style(Enum):
    """How to print."""

    TABLE = "table"
    JSON = "json"
    QUIET = "quiet"


class Renderer:
    """Prints rows and facts in one style."""

    def __init__(self, style: Style) -> None:
        self.style = style

    def rows(self, rows: Sequence[Row], *, columns: Sequence[str], empty: str) -> None:
        """A listing; ``columns`` are those that people see, programs see all."""
        if self.style is Style.JSON:
            click.echo(to_json(list(rows)))
        elif self.style is Style.QUIET:
            for row in rows:
                click.echo(str(row[columns[0]]))
        elif rows:
            self._table(rows, columns)
        else:
            click.echo(empty)

    def facts(self, facts: Row, *, name: str = "id") -> None:
        """One thing, a line a fact; empty facts are left out for people."""
        if self.style is Style.JSON:
            click.echo(to_json(facts))
        elif self.style is Style.QUIET:
            click.echo(str(facts.get(name, "")))
        else:
            width = max(map(len, facts))
            for key, value in facts.items():
                if value not in ("", None, [], {}, ()):
                    click.echo(f"{key.replace('_', ' '):<{width}}  {_cell(value)}")

    def line(self, text: str) -> None:
        """A remark for people; programs do not see it."""
        if self.style is Style.TABLE:
            click.echo(text)

    def error(self, error: CorpGridError) -> None:
        """What went wrong, on standard error."""
        if self.style is Style.JSON:
            click.echo(to_json({"error": error.code, "message": str(error), "remedy": error.remedy}), err=True)
        else:
            click.echo(click.style("error: ", fg="red") + printable(error.explain()), err=True)

    def _table(self, rows: Sequence[Row], columns: Sequence[str]) -> None:
        from rich.console import Console  # noqa: PLC0415 - rich takes long to import and programs never need it
        from rich.table import Table  # noqa: PLC0415

        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in columns:
            numeric = all(isinstance(row[column], int | float) for row in rows)
            table.add_column(column.replace("_", " "), justify="right" if numeric else "left", overflow="fold")
        for row in rows:
            table.add_row(*(_cell(row[column]) for column in columns))
        console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
        console.print(table)


def to_json(value: Any) -> str:
    """One line of JSON; digests and other bytes as hexadecimal text."""
    return json.dumps(value, default=_plain, ensure_ascii=False)


def printable(text: str) -> str:
    """Text with every control character but newline and tab made visible."""
    return "".join(letter if letter.isprintable() or letter in "\n\t" else f"\\x{ord(letter):02x}" for letter in text)


def ago(seconds: float) -> str:
    """A duration as people say it."""
    for limit, unit, size in ((120, "s", 1), (7200, "min", 60), (172_800, "h", 3600)):
        if seconds < limit:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86_400:.0f} d"


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, frozenset | set):
        return sorted(value)
    item: Callable[[], Any] | None = getattr(value, "tolist", None)  # NumPy's arrays and scalars
    return item() if item is not None else str(value)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{key} {entry}" for key, entry in value.items())
    return printable(str(value))
