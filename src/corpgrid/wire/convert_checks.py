"""What every conversion asks of bytes that came from outside.

Rules:
* Whatever is wrong with bytes is a ``MalformedDataError`` that names the field; nothing else leaves these functions.
* Numbers are finite, digests have 32 bytes, columns of one table have one length, an enum's value is one that this
  program knows.
* The checks of columns cost nothing an item that the interpreter would not pay for reading it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any, Generic, Protocol, TypeVar

from google.protobuf.message import DecodeError, Message

from corpgrid.domain.ids import DIGEST_BYTES, Digest
from corpgrid.errors import MalformedDataError

_REMEDY = "Both sides must run versions of CorpGrid that speak the same protocol."
NAME_BYTES = 4_096
"""Longest name, reason or secret."""

M = TypeVar("M", bound=Message)
E = TypeVar("E", bound=StrEnum)


class _WireEnum(Protocol):
    def Value(self, name: str) -> int:  # noqa: N802 -- protobuf's name
        """The number of a name."""


def malformed(message: str) -> MalformedDataError:
    """The error of bytes that are not what they should be."""
    return MalformedDataError(message, remedy=_REMEDY)


def present(message: Message, name: str) -> None:
    """Check that a part of a message is there.

    Raises:
        MalformedDataError: it is not.
    """
    if not message.HasField(name):
        raise malformed(f"{message.DESCRIPTOR.name} lacks its {name}")


def parse(kind: type[M], content: bytes) -> M:
    """Read a protobuf message.

    Raises:
        MalformedDataError: the bytes are not one.
    """
    try:
        return kind.FromString(content)
    except DecodeError as error:
        raise malformed(f"{len(content)} bytes cannot be read as {kind.DESCRIPTOR.name}: {error}") from None


class Words(Generic[E]):
    """One enum's words, to their numbers on the wire and back."""

    def __init__(self, kind: type[E], wire: _WireEnum, prefix: str) -> None:
        self._kind = kind
        # An int, which protobuf's stubs take for a class of its own.
        self.number: dict[E, Any] = {word: wire.Value(f"{prefix}_{word.name}") for word in kind}
        self._word = {number: word for word, number in self.number.items()}

    def word(self, number: int) -> E:
        """One word.

        Raises:
            MalformedDataError: this program knows no such word.
        """
        return self.words((number,))[0]

    def words(self, numbers: Iterable[int]) -> list[E]:
        """Many words.

        Raises:
            MalformedDataError: this program does not know one of them.
        """
        known = self._word
        try:
            return [known[number] for number in numbers]
        except KeyError as error:
            raise malformed(f"{error} is no {self._kind.__name__}") from None


def same_length(table: str, count: int, **columns: int) -> None:
    """Check that the columns of a table are equally long.

    Raises:
        MalformedDataError: one is not.
    """
    for name, length in columns.items():
        if length != count:
            raise malformed(f"{table}: column {name} has {length} entries where {count} are needed")


def place(position: int, count: int) -> int:
    """Check that a sparse entry stands within its table.

    Raises:
        MalformedDataError: it does not.
    """
    if position >= count:
        raise malformed(f"position {position} does not exist in a table of {count}")
    return position


def digest(content: bytes, name: str) -> Digest:
    """Check a digest.

    Raises:
        MalformedDataError: it has not 32 bytes.
    """
    if len(content) != DIGEST_BYTES:
        raise malformed(f"{name} has {len(content)} bytes where a digest has {DIGEST_BYTES}")
    return Digest(content)


def maybe_digest(content: bytes, name: str) -> Digest:
    """Check a digest that may be left out.

    Raises:
        MalformedDataError: it has neither 0 nor 32 bytes.
    """
    return digest(content, name) if content else Digest(b"")


def finite(value: float, name: str) -> float:
    """Check a number.

    Raises:
        MalformedDataError: it is not finite, or below zero.
    """
    if not 0.0 <= value < math.inf:
        raise malformed(f"{name} is {value} where a finite number from 0 is needed")
    return value


def all_finite(values: Sequence[float], name: str) -> None:
    """Check a column of numbers.

    Raises:
        MalformedDataError: one is not finite, or below zero.
    """
    if values and not (min(values) >= 0.0 and math.isfinite(sum(values))):
        raise malformed(f"{name} holds a number that is not finite or below 0")


def text(value: str, name: str) -> str:
    """Check a short text.

    Raises:
        MalformedDataError: it is longer than any name is.
    """
    if len(value) > NAME_BYTES:
        raise malformed(f"{name} has {len(value)} characters where {NAME_BYTES} are allowed")
    return value
