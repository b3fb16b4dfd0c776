"""What a command prints: a table for people, ``--json`` for programs, or only ids (``--quiet``).

* In JSON a listing is one array of objects, a single thing one object, and nothing else goes to standard output.  What
  JSON lacks becomes what it has: NaN and infinities null, bytes hexadecimal text, arrays lists.
* For people, numbers have units and moments are local time.  Colours and live lines appear only on a terminal; in a
  pipe the same text comes as plain lines, one a thing, never cut off.
* Text that came from a device is escaped: no control character of it reaches the terminal.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from typing import Any

import click

from corpgrid.errors import CorpGridError
from corpgrid.sdk.text import printable

Row = Mapping[str, Any]
_UNITS = ((40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB"))


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
        """A listing; ``columns`` are those that people see, the first names a row; programs see all."""
        match self.style:
            case Style.JSON:
                click.echo(to_json(list(rows)))
            case Style.QUIET:
                for row in rows:
                    click.echo(shown(columns[0], row[columns[0]]))
            case Style.TABLE if not rows:
                click.echo(empty)
            case Style.TABLE:
                for number, line in enumerate(_lines(rows, columns)):
                    click.echo(line if number else click.style(line, bold=True))

    def facts(self, facts: Row, *, name: str = "id") -> None:
        """One thing, a line a fact; empty facts are left out for people."""
        if self.style is Style.JSON:
            click.echo(to_json(facts))
        elif self.style is Style.QUIET:
            click.echo(shown(name, facts.get(name, "")))
        else:
            told = {key.replace("_", " "): text for key, value in facts.items() if (text := shown(key, value))}
            width = max(map(len, told), default=0)
            for key, text in told.items():
                click.echo(f"{key:<{width}}  {text}")

    def stream(self, rows: Iterable[Row], *, name: str) -> None:
        """A listing of data, each as soon as it is there: JSON on a line of its own, or with ``--json`` one array.

        ``name`` is the field that ``--quiet`` prints of each row that has it.
        """
        match self.style:
            case Style.JSON:
                opening = "["
                for row in rows:
                    click.echo(opening + to_json(row), nl=False)
                    opening = ",\n"
                click.echo("[]" if opening == "[" else "]")
            case Style.QUIET:
                for row in rows:
                    if name in row:
                        click.echo(to_json(row[name]))
            case Style.TABLE:
                for row in rows:
                    click.echo(to_json(row))

    def line(self, text: str) -> None:
        """A remark for people; programs do not see it."""
        if self.style is Style.TABLE:
            click.echo(text)

    def error(self, error: CorpGridError) -> None:
        """What went wrong, on standard error."""
        if self.style is Style.JSON:
            told = {"error": error.code, "message": str(error), "remedy": error.remedy, "exit": error.exit_code}
            click.echo(to_json(told), err=True)
        else:
            click.echo(click.style("error: ", fg="red") + printable(error.explain()), err=True)


def to_json(value: Any) -> str:
    """One line of JSON, in ASCII."""
    return json.dumps(_plain(value), allow_nan=False)


def shown(name: str, value: Any) -> str:
    """A value as people read it, by the unit that ends its name; empty for what says nothing."""
    match value:
        case None | "" | [] | ():
            text = ""
        case bool():
            text = "yes" if value else "no"
        case int() | float() if name.endswith("_at") or name == "last_seen":
            text = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(value)) if value else ""
        case int() if name.endswith("_bytes"):
            text = next(
                (f"{value / (1 << shift):.4g} {unit}" for shift, unit in _UNITS if value >> shift), f"{value} B"
            )
        case float():
            text = f"{value:.4g}"
        case list() | tuple():
            text = ", ".join(shown("", entry) for entry in value)
        case dict():
            text = ", ".join(f"{shown('', entry)} {key}" for key, entry in value.items() if entry)
        case _:
            text = str(value)
    return printable(text, keep="")


def _lines(rows: Sequence[Row], columns: Sequence[str]) -> list[str]:
    """Header and rows, in columns; numbers to the right."""
    cells = [[column.replace("_", " ") for column in columns]]
    cells += [[shown(column, row[column]) for column in columns] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    to_the_right = [all(type(row[column]) in (int, float) for row in rows) for column in columns]
    return [
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, to_the_right, strict=True)
        ).rstrip()
        for line in cells
    ]


def _plain(value: Any) -> Any:
    """The value in JSON's own types."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case bytes():
            return value.hex()
        case Mapping():
            return {key if isinstance(key, str) else str(_plain(key)): _plain(entry) for key, entry in value.items()}
        case list() | tuple():
            return [_plain(entry) for entry in value]
    listed: Callable[[], Any] = getattr(value, "tolist", value.__str__)  # NumPy's arrays and scalars have it
    return _plain(listed())
