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
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from functools import lru_cache
from itertools import count, repeat
from typing import Any, NamedTuple

import msgpack

from corpgrid.domain.ids import DIGEST_BYTES, digest_text
from corpgrid.errors import CorpGridError
from corpgrid.trust.canonical import Json
from corpgrid.trust.paths import clash, path_fault

_SHOWN_CHARACTERS = 80
_UNFIT = re.compile("[\x00\ud800-\udfff]")


class Where(NamedTuple):
    """The place of a record, and the class of the error if something in it does not fit."""

    error: type[CorpGridError]
    path: str = ""


class _Misfit(Exception):  # noqa: N818 - never leaves this module
    """Something does not fit.  Its place is put together on the way out, so that what fits pays nothing for it."""

    def __init__(self, story: str) -> None:
        super().__init__(story)
        self.story = story
        self.path = ""

    @classmethod
    def of(cls, value: object, wanted: str) -> _Misfit:
        """A value that is not what is wanted."""
        shown = repr(value)
        shown = shown if len(shown) <= _SHOWN_CHARACTERS else f"{shown[:_SHOWN_CHARACTERS]}..."
        return cls(f"is {shown}; it must be {wanted}")

    def within(self, name: object) -> _Misfit:
        """The same, seen from one field further out."""
        self.path = f"{name}.{self.path}" if self.path else str(name)
        return self

    def seen_at(self, where: Where) -> CorpGridError:
        """The error for the caller."""
        if where.path:
            self.within(where.path)
        return where.error(f"{self.path or 'the record'} {self.story}")


Convert = Callable[[Any], Any]


class Field(NamedTuple):
    """How a value becomes JSON's types and comes back; both raise ``_Misfit`` for what does not fit."""

    to_json: Convert
    from_json: Convert

    def write(self, value: Any, where: Where) -> Json:
        """The value in JSON's types; what does not fit raises ``where.error``."""
        try:
            return self.to_json(value)
        except _Misfit as misfit:
            raise misfit.seen_at(where) from None

    def read(self, data: Json, where: Where) -> Any:
        """The value from JSON's types; what does not fit raises ``where.error``."""
        try:
            return self.from_json(data)
        except _Misfit as misfit:
            raise misfit.seen_at(where) from None


def plain(fits: Callable[[Any], bool], wanted: str) -> Field:
    """A value that JSON has as it is."""

    def check(value: Any) -> Any:
        if not fits(value):
            raise _Misfit.of(value, wanted)
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

    def write(value: Any) -> Json:
        fits = type(value) is int and low <= value <= high
        return number.to_json(float(value) if fits else value)

    return Field(write, number.from_json)


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
    return Field(lambda value: str(word.to_json(value)), lambda data: members(word.from_json(data)))


def _binary(size_bytes: int, prefix: str, wanted: str) -> Field:
    value_field = plain(lambda value: isinstance(value, bytes) and len(value) == size_bytes, wanted)
    text_field = pattern(f"{prefix}[0-9a-f]{{{2 * size_bytes}}}", wanted)
    return Field(
        lambda value: prefix + value_field.to_json(value).hex(),
        lambda data: bytes.fromhex(text_field.from_json(data)[len(prefix) :]),
    )


HASH = _binary(DIGEST_BYTES, digest_text(b""), "a digest: b3: and 64 lower-case hexadecimal digits (32 bytes)")


def raw(size_bytes: int) -> Field:
    """Exactly ``size_bytes`` bytes, written as lower-case hexadecimal digits."""
    return _binary(size_bytes, "", f"{size_bytes} bytes ({2 * size_bytes} lower-case hexadecimal digits)")


def maybe(field: Field) -> Field:
    """Null, or what ``field`` says."""
    return Field(
        lambda value: None if value is None else field.to_json(value),
        lambda data: None if data is None else field.from_json(data),
    )


def many(entry: Field, most: int, *, least: int = 0) -> Field:
    """A list; a tuple as a value."""
    entries = plain(
        lambda value: isinstance(value, list | tuple) and least <= len(value) <= most,
        f"a list of {least} to {most:,} entries",
    )

    def each(convert: Convert, values: Any) -> Iterable[Any]:
        return _converted(count(), repeat(convert), values).values()

    return Field(
        lambda value: list(each(entry.to_json, entries.to_json(value))),
        lambda data: tuple(each(entry.from_json, entries.from_json(data))),
    )


def files(entry: Field, most: int) -> Field:
    """A map of file names (``trust.paths``) to what ``entry`` says."""

    def checked(names: Any) -> Any:
        if not isinstance(names, Mapping) or len(names) > most or not all(isinstance(name, str) for name in names):
            raise _Misfit.of(names, f"a map of at most {most:,} file names")
        for name in names:
            if fault := path_fault(name):
                raise _Misfit(f"may not have the file name {name!r}: {fault}")
        if fault := clash(names):
            raise _Misfit(f"may not have these file names together: {fault}")
        return names

    def each(convert: Convert, named: Mapping[str, Any]) -> dict[str, Any]:
        return _converted(named, repeat(convert), named.values())

    return Field(
        lambda value: each(entry.to_json, checked(value)),
        lambda data: each(entry.from_json, checked(data)),
    )


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

    writers = [field.to_json for field in fields.values()]
    readers = [field.from_json for field in fields.values()]

    def obey(value: Any) -> None:
        if fault := rule(value):
            name, _, story = fault.partition(" ")
            raise _Misfit(story).within(name)

    def write(value: Any) -> Json:
        if not isinstance(value, kind):
            raise _Misfit.of(value, f"a {kind.__name__}")
        data = _converted(fields, writers, map(getattr, repeat(value), fields))
        obey(value)
        return data

    def read(data: Json) -> Any:
        if not isinstance(data, dict):
            raise _Misfit.of(data, f"a map of the fields {', '.join(fields)}")
        if data.keys() != fields.keys():
            name = min(data.keys() ^ fields.keys())
            problem = "is missing" if name in fields else "is not a field"
            raise _Misfit(f"{problem}; the fields here are {', '.join(fields)}").within(name)
        value = kind(**_converted(fields, readers, map(data.__getitem__, fields)))
        obey(value)
        return value

    return Field(write, read)


def remembered(field: Field, most: int) -> Field:
    """The same field, which knows what it read lately: for what is frozen, and alike in one record after another.

    What was read follows from the bytes that it is looked up by, and from nothing else; what did not fit is not kept.
    """
    known = lru_cache(maxsize=most)(lambda content: field.from_json(msgpack.unpackb(content)))
    return Field(field.to_json, lambda data: known(msgpack.packb(data)))


def union(kinds: Mapping[str, tuple[type[Any], Field]]) -> Field:
    """One of several records, told apart by ``kind``."""
    word = choice(*kinds)

    def write(value: Any) -> Json:
        for kind, (owner, field) in kinds.items():
            if isinstance(value, owner):
                return {"kind": kind, **field.to_json(value)}
        raise _Misfit.of(value, f"one of {', '.join(owner.__name__ for owner, _ in kinds.values())}")

    def read(data: Json) -> Any:
        if not isinstance(data, dict):
            raise _Misfit.of(data, "a map with a kind")
        _, field = kinds[_converted(["kind"], [word.from_json], [data.get("kind")])["kind"]]
        return field.from_json({name: entry for name, entry in data.items() if name != "kind"})

    return Field(write, read)


def _converted(names: Iterable[Any], converts: Iterable[Convert], values: Iterable[Any]) -> dict[Any, Any]:
    """Each part converted, by its name; what does not fit is told by that name."""
    done: dict[Any, Any] = {}
    name: object = None
    try:
        for name, convert, value in zip(names, converts, values, strict=False):
            done[name] = convert(value)
    except _Misfit as misfit:
        misfit.within(name)
        raise
    return done


def _names(kind: type[Any]) -> set[str]:
    if dataclasses.is_dataclass(kind):
        return {field.name for field in dataclasses.fields(kind)}
    return set(kind._fields)
