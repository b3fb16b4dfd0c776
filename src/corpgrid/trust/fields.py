"""Strict reading and writing of signed records: each field with its type and range, declared once.

A ``Field`` turns a value into canonical JSON's types (``write``) and back (``read``), and both directions check: what
one side would refuse to read, the other refuses to write.  A ``record`` has exactly its fields: an unknown, missing or
misfit field is an error that names the field and what is accepted.  The class of the error is the caller's, because
the same reading serves jobs, bundles and registrations.

>>> from corpgrid.errors import JobFileError
>>> try:
...     whole(1, 10).read(11, Where(JobFileError, "limits.processes"))
... except JobFileError as error:
...     print(error)
limits.processes is 11; it must be a whole number from 1 to 10
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from corpgrid.domain.ids import DIGEST_BYTES, digest_text
from corpgrid.errors import CorpGridError
from corpgrid.trust.canonical import Json
from corpgrid.trust.paths import clash, path_fault

_SHOWN_CHARACTERS = 80
_UNFIT = re.compile("[\x00\ud800-\udfff]")


class Where(NamedTuple):
    """The place of a value in its record, and the class of the error if it does not fit."""

    error: type[CorpGridError]
    path: str = ""

    def at(self, name: str) -> Where:
        """One field deeper."""
        return Where(self.error, f"{self.path}.{name}" if self.path else name)

    def misfit(self, value: object, wanted: str) -> CorpGridError:
        """The error that says that ``value`` is not what is wanted."""
        shown = repr(value)
        shown = shown if len(shown) <= _SHOWN_CHARACTERS else f"{shown[:_SHOWN_CHARACTERS]}..."
        return self.error(f"{self.path or 'the record'} is {shown}; it must be {wanted}")


class Field(NamedTuple):
    """How a value is written and read; both raise ``where.error`` for what does not fit."""

    write: Callable[[Any, Where], Json]
    read: Callable[[Json, Where], Any]


def plain(fits: Callable[[Any], bool], wanted: str) -> Field:
    """A value that JSON has as it is."""

    def check(value: Any, where: Where) -> Any:
        if not fits(value):
            raise where.misfit(value, wanted)
        return value

    return Field(check, check)


FLAG = plain(lambda value: isinstance(value, bool), "true or false")


def whole(low: int, high: int) -> Field:
    """A whole number from ``low`` to ``high``."""
    return plain(
        lambda value: isinstance(value, int) and not isinstance(value, bool) and low <= value <= high,
        f"a whole number from {low:,} to {high:,}",
    )


def real(low: float, high: float) -> Field:
    """A number from ``low`` to ``high``; always written with a point, so that 1 and 1.0 are one."""
    number = plain(
        lambda value: isinstance(value, float) and low <= value <= high,
        f"a number with a point from {low:g} to {high:g}",
    )

    def write(value: Any, where: Where) -> Json:
        fits = type(value) is int and low <= value <= high
        return number.write(float(value) if fits else value, where)

    return Field(write, number.read)


def text(most: int, *, least: int = 0) -> Field:
    """Printable text: it can be shown in a terminal and in a list without harm."""
    return plain(
        lambda value: isinstance(value, str) and least <= len(value) <= most and value.isprintable(),
        f"printable text of {least} to {most:,} characters",
    )


def argument(most: int) -> Field:
    """Any text that can be one argument of a command."""
    return plain(
        lambda value: isinstance(value, str) and len(value) <= most and _UNFIT.search(value) is None,
        f"Unicode text without NUL of at most {most:,} characters",
    )


def pattern(regex: str, wanted: str) -> Field:
    """Text that matches ``regex`` as a whole."""
    compiled = re.compile(regex)
    return plain(lambda value: isinstance(value, str) and compiled.fullmatch(value) is not None, wanted)


def choice(*words: str) -> Field:
    """One of a few words."""
    return plain(lambda value: isinstance(value, str) and value in words, f"one of {', '.join(map(repr, words))}")


def member(members: type[StrEnum]) -> Field:
    """One member of an enumeration."""
    word = choice(*(one.value for one in members))
    return Field(
        lambda value, where: str(word.write(value, where)), lambda data, where: members(word.read(data, where))
    )


def _binary(size_bytes: int, prefix: str, wanted: str) -> Field:
    value_field = plain(lambda value: isinstance(value, bytes) and len(value) == size_bytes, wanted)
    text_field = pattern(f"{prefix}[0-9a-f]{{{2 * size_bytes}}}", wanted)
    return Field(
        lambda value, where: prefix + value_field.write(value, where).hex(),
        lambda data, where: bytes.fromhex(text_field.read(data, where)[len(prefix) :]),
    )


HASH = _binary(DIGEST_BYTES, digest_text(b""), "a digest: b3: and 64 lower-case hexadecimal digits (32 bytes)")


def raw(size_bytes: int) -> Field:
    """Exactly ``size_bytes`` bytes, written as lower-case hexadecimal digits."""
    return _binary(size_bytes, "", f"{size_bytes} bytes ({2 * size_bytes} lower-case hexadecimal digits)")


def maybe(field: Field) -> Field:
    """Null, or what ``field`` says."""
    return Field(
        lambda value, where: None if value is None else field.write(value, where),
        lambda data, where: None if data is None else field.read(data, where),
    )


def many(entry: Field, most: int, *, least: int = 0) -> Field:
    """A list; a tuple as a value."""
    entries = plain(
        lambda value: isinstance(value, list | tuple) and least <= len(value) <= most,
        f"a list of {least} to {most:,} entries",
    )

    def write(value: Any, where: Where) -> Json:
        return [entry.write(one, where.at(str(place))) for place, one in enumerate(entries.write(value, where))]

    def read(data: Json, where: Where) -> tuple[Any, ...]:
        return tuple(entry.read(one, where.at(str(place))) for place, one in enumerate(entries.read(data, where)))

    return Field(write, read)


def files(entry: Field, most: int) -> Field:
    """A map of file names (``trust.paths``) to what ``entry`` says."""

    def check(names: Any, where: Where) -> None:
        if not isinstance(names, Mapping) or len(names) > most or not all(isinstance(name, str) for name in names):
            raise where.misfit(names, f"a map of at most {most:,} file names")
        for name in names:
            if fault := path_fault(name):
                raise where.error(f"{where.path} may not have the file name {name!r}: {fault}")
        if fault := clash(names):
            raise where.error(f"{where.path} may not have these file names together: {fault}")

    def write(value: Any, where: Where) -> Json:
        check(value, where)
        return {name: entry.write(one, where.at(name)) for name, one in value.items()}

    def read(data: Json, where: Where) -> dict[str, Any]:
        check(data, where)
        return {name: entry.read(one, where.at(name)) for name, one in data.items()}

    return Field(write, read)


def record(
    kind: type[Any],
    fields: Mapping[str, Field],
    *,
    omitted: frozenset[str] = frozenset(),
    rule: Callable[[Any], str] = lambda _: "",
) -> Field:
    """A dataclass or named tuple with exactly these fields.

    Args:
        kind: its class.
        fields: how each of its fields is written; all of them, so that none goes unsigned.
        omitted: fields that are not written, such as the signature over the others.
        rule: what must hold between fields; it returns what is wrong, beginning with a field's name, or nothing.
    """
    assert set(fields) | omitted == _names(kind), f"{kind.__name__} has fields that nobody would sign"

    def obey(value: Any, where: Where) -> Any:
        if fault := rule(value):
            raise where.error(where.at(fault).path)
        return value

    def write(value: Any, where: Where) -> Json:
        if not isinstance(value, kind):
            raise where.misfit(value, f"a {kind.__name__}")
        data = {name: field.write(getattr(value, name), where.at(name)) for name, field in fields.items()}
        obey(value, where)
        return data

    def read(data: Json, where: Where) -> Any:
        if not isinstance(data, dict):
            raise where.misfit(data, f"a map of the fields {', '.join(fields)}")
        for name in sorted(set(data) ^ set(fields)):
            problem = "is missing" if name in fields else "is not a field"
            raise where.error(f"{where.at(name).path} {problem}; the fields here are {', '.join(fields)}")
        return obey(kind(**{name: field.read(data[name], where.at(name)) for name, field in fields.items()}), where)

    return Field(write, read)


def union(kinds: Mapping[str, tuple[type[Any], Field]]) -> Field:
    """One of several records, told apart by ``kind``."""
    word = choice(*kinds)

    def write(value: Any, where: Where) -> Json:
        for kind, (owner, field) in kinds.items():
            if isinstance(value, owner):
                return {"kind": kind, **field.write(value, where)}
        raise where.misfit(value, f"one of {', '.join(owner.__name__ for owner, _ in kinds.values())}")

    def read(data: Json, where: Where) -> Any:
        if not isinstance(data, dict):
            raise where.misfit(data, "a map with a kind")
        _, field = kinds[word.read(data.get("kind"), where.at("kind"))]
        return field.read({name: entry for name, entry in data.items() if name != "kind"}, where)

    return Field(write, read)


def _names(kind: type[Any]) -> set[str]:
    if dataclasses.is_dataclass(kind):
        return {field.name for field in dataclasses.fields(kind)}
    return set(kind._fields)
