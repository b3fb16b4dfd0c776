"""The parts of the reference pages that are made from the code: ``./dev docs`` writes them, a test holds them to it.

* A page is written by people.  Where it says ``<!-- made from the code: NAME -->`` the lines up to ``<!-- end -->`` are
  made by the maker of that name, and by nobody else.
* What is said of a field is said once: in the docstring of its class.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from pathlib import Path
from typing import Any, get_type_hints

import click

from corpgrid import errors
from corpgrid.cli.main import cli
from corpgrid.config import Config, variable_of
from corpgrid.config.fields import folders_of
from corpgrid.domain.availability import BlockerName
from corpgrid.domain.job import Comparator, ComparatorKind, Isolation, Limits, Requirements, VerifyMode, VerifyPolicy
from corpgrid.errors import CorpGridError, JobFileError
from corpgrid.sdk.jobfile import JobFile
from corpgrid.sdk.request import Request
from corpgrid.trust.jobspec import encode_spec
from tests.house.tree import DOCS

_EVERYWHERE = {"as_json", "quiet", "address", "key", "config"}
_BLOCK = re.compile(r"(<!-- made from the code: (?P<name>[\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_FIELD = re.compile(r"^    (?P<name>\w+): (?P<text>.+(?:\n {8,}.+)*)", re.MULTILINE)


def fill(page: str) -> str:
    """The page with every made part made again."""
    return _BLOCK.sub(lambda match: f"{match[1]}\n{MAKERS[match['name']]()}\n\n{match[3]}", page)


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    head = list(header)
    lines = [head, ["---"] * len(head), *rows]
    cells = ([cell.replace("``", "`").replace("|", "&#124;") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def described(kind: type) -> dict[str, str]:
    """What a class's docstring says of its attributes."""
    attributes = (inspect.getdoc(kind) or "").partition("Attributes:\n")[2]
    return {match["name"]: " ".join(match["text"].split()) for match in _FIELD.finditer(attributes)}


def fields_table(kind: type, path: str) -> str:
    """A dataclass's fields, which stand in a job file at this path: name, default, what is accepted, meaning."""
    says = described(kind)
    rows = [
        [f"`{item.name}`", _default(item), _accepted(path, item), says[item.name]] for item in dataclasses.fields(kind)
    ]
    return table(("field", "default", "accepted", "meaning"), rows)


class _Misfit:
    """What fits nowhere: the error says what does."""


def _accepted(path: str, item: dataclasses.Field[Any]) -> str:
    wanted = _wanted(path, {item.name: _Misfit()})
    if isinstance(item.default, tuple):
        wanted = f"{wanted}, each {_wanted(path, {item.name: (_Misfit(),)})}"
    words = re.sub(r"'([^']*)'", lambda match: f"`{match[1]}`" if match[1] else "empty", wanted)
    numbers = re.fullmatch(r"a (?:whole number|number with a point) from (\S+) to (\S+)", words)
    if numbers is None:
        return words.removeprefix("one of ")
    low, high = (_number(item.name, float(number.replace(",", ""))) for number in numbers.groups())
    return f"{low} to {high}"


def _wanted(path: str, fields: dict[str, Any]) -> str:
    """What the signed specification says that a field must be."""
    spec = Request(name="it", tenant="it", expires_seconds=1.0).spec()
    try:
        encode_spec(_with(spec, path.split("."), fields))
    except JobFileError as error:
        return str(error).partition("; it must be ")[2]
    raise AssertionError(f"{path}: {fields} was accepted")


def _with(record: Any, path: list[str], fields: dict[str, Any]) -> Any:
    if not path:
        return dataclasses.replace(record, **fields)
    name, *rest = path
    return dataclasses.replace(record, **{name: _with(getattr(record, name), rest, fields)})


def members_table(kind: type[Enum]) -> str:
    """An enumeration's members; each is explained by the string below it."""
    source = inspect.getsource(kind)
    says = dict(re.findall(r'^    (\w+) = "\w+"\n    """(.+?)"""', source, re.MULTILINE | re.DOTALL))
    return table(
        ("value", "meaning"), [[f"`{item.value}`", " ".join(says.get(item.name, "").split())] for item in kind]
    )


def job_file_table() -> str:
    """The fields at the top of a job file."""
    says = described(JobFile)
    missing = dataclasses.MISSING
    rows = [
        [f"`{item.name}`", "" if item.default is item.default_factory is missing else _default(item), says[item.name]]
        for item in dataclasses.fields(JobFile)
        if item.name != "folder"
    ]
    return table(("field", "default", "meaning"), rows)


def _default(item: dataclasses.Field[Any]) -> str:
    if item.default_factory is not dataclasses.MISSING:
        return "see below"
    match item.default:
        case None:
            return "none"
        case Enum(value=value):
            return f"`{value}`"
        case bool(value):
            return f"`{str(value).lower()}`"
        case str() | tuple() as value:
            return f"`{value}`" if value else "empty"
        case value:
            return f"`{value}`" + (f" ({_number(item.name, value)})" if item.name.endswith("_bytes") and value else "")


def _number(name: str, value: float) -> str:
    """A number for people, in the unit that ends its name."""
    if name.endswith("_bytes"):
        for shift, unit in ((40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")):
            if value and value % (1 << shift) == 0:
                return f"{int(value) >> shift} {unit}"
    return f"{value:,.0f}" if value == int(value) else f"{value:g}"


def _errors_table() -> str:
    rows = [
        [
            f"`{error.code}`",
            f"{'&emsp;' * depth}`{error.__name__}`",
            str(error.exit_code),
            _summary(error),
            error.default_remedy,
        ]
        for depth, error in _walk(CorpGridError, 0)
    ]
    return table(("code", "error", "exit", "what happened", "what to do"), rows)


def _walk(error: type[CorpGridError], depth: int) -> Iterator[tuple[int, type[CorpGridError]]]:
    yield depth, error
    for child in error.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from _walk(child, depth + 1)


def _config_tables() -> str:
    """A table for each section that people may set."""
    hints = get_type_hints(Config)
    sections = {
        item.name: hints[item.name] for item in dataclasses.fields(Config) if dataclasses.is_dataclass(hints[item.name])
    }
    return "\n\n".join(f"## {name}\n\n{_section(name, kind)}" for name, kind in sections.items())


def _section(section: str, kind: type) -> str:
    title = _summary(kind).partition(": ")[2]
    rows = [
        [f"`{item.name}`", _setting_default(item), _accepts(item), item.metadata["doc"]]
        for item in dataclasses.fields(kind)
    ]
    first = dataclasses.fields(kind)[0].name
    example = f"In the environment: `{variable_of(f'{section}.{first}')}` and so on."
    return f"{title[:1].upper()}{title[1:]} {example}\n\n{table(('setting', 'default', 'accepts', 'meaning'), rows)}"


def _setting_default(item: dataclasses.Field[Any]) -> str:
    template = item.metadata.get("template")
    return f"`{template}`" if template else _default(item)


def _accepts(item: dataclasses.Field[Any]) -> str:
    low, high, choices = (item.metadata.get(key) for key in ("low", "high", "choices"))
    if choices:
        return ", ".join(f"`{choice}`" for choice in choices)
    if low is None and high is None:
        return "true or false" if isinstance(item.default, bool) else ""
    least = _number(item.name, low or 0)
    return f"{least} and up" if high is None else f"{least} to {_number(item.name, high)}"


def _folders_table() -> str:
    """Where located defaults lie, by platform."""
    rows = []
    for who, platform, root in (
        ("Linux, a user", "linux", False),
        ("Linux, root", "linux", True),
        ("macOS, a user", "darwin", False),
    ):
        folders = folders_of({"HOME": "~"}, platform=platform, root=root)
        rows.append([who, *(f"`{folder}`" for folder in (folders.data, folders.config, folders.cache))])
    return table(("on", "`{data}`", "`{config}`", "`{cache}`"), rows)


def _summary(kind: type) -> str:
    return (inspect.getdoc(kind) or "").partition("\n")[0]


def _commands_text() -> str:
    """A section for each noun, with its verbs."""
    root = click.Context(cli, info_name="corpgrid")
    return "\n\n".join(_command_text(root, cli, name, level=2) for name in cli.list_commands(root))


def _command_text(above: click.Context, group: click.Group, name: str, *, level: int) -> str:
    command = group.get_command(above, name)
    assert command is not None
    context = click.Context(command, info_name=name, parent=above)
    parts = [f"{'#' * level} {context.command_path}", inspect.cleandoc(command.help or "")]
    if isinstance(command, click.Group):
        verbs = command.list_commands(context)
        return "\n\n".join([*parts, *(_command_text(context, command, verb, level=level + 1) for verb in verbs)])
    usage = " ".join(command.collect_usage_pieces(context))
    options = [item for item in command.params if isinstance(item, click.Option) and item.name not in _EVERYWHERE]
    rows = [[f"`{', '.join(item.opts)}`", item.help or ""] for item in options if not item.hidden]
    return "\n\n".join(
        [*parts, f"`{context.command_path} {usage}`", *([table(("option", "meaning"), rows)] if rows else [])]
    )


MAKERS: dict[str, Callable[[], str]] = {
    "blockers": lambda: members_table(BlockerName),
    "commands": _commands_text,
    "comparator": lambda: fields_table(Comparator, "verify.comparator"),
    "comparator-kinds": lambda: members_table(ComparatorKind),
    "config": _config_tables,
    "errors": _errors_table,
    "folders": _folders_table,
    "isolation": lambda: members_table(Isolation),
    "job-file": job_file_table,
    "limits": lambda: fields_table(Limits, "limits"),
    "requirements": lambda: fields_table(Requirements, "requirements"),
    "verify": lambda: fields_table(VerifyPolicy, "verify"),
    "verify-modes": lambda: members_table(VerifyMode),
}


def pages() -> list[Path]:
    """Every page that holds a made part."""
    return [path for path in sorted(DOCS.rglob("*.md")) if _BLOCK.search(path.read_text(encoding="utf-8"))]


def main() -> None:
    """Write every page that changed."""
    for path in pages():
        old = path.read_text(encoding="utf-8")
        new = fill(old)
        if new != old:
            path.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
