"""Errors between the tree in ``errors`` and the bytes that travel beside a status.

Rules:
* An error is raised again as the class that its ``code`` names, with its message and its remedy.  A code that this
  program does not know becomes a ``GridError``: the grid answered, and the answer is no.
* Only attributes that a class is known to have are read, and an error keeps to ``ERROR_BYTES``: it must fit in
  metadata.

>>> error_from_wire(error_to_wire(GridError("no"))).code
'grid'
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from corpgrid.errors import (
    CorpGridError,
    GridError,
    IllegalMoveError,
    LimitError,
    LoadError,
    MalformedDataError,
    OutputError,
    OverloadedError,
    TaskFailedError,
)
from corpgrid.wire import convert_checks as check
from corpgrid.wire.convert import wire_text
from corpgrid.wire.v1 import scheduler_pb2 as pb

ERROR_BYTES = 4_096
"""Longest message and remedy, together with what they are wrapped in: metadata holds 8 KiB."""

_ATTRIBUTES: Mapping[type[CorpGridError], Mapping[str, object]] = {
    LimitError: {"limit_name": "", "limit": 0, "got": 0},
    TaskFailedError: {"index": -1, "reason": "", "detail": ""},
    LoadError: {"reason": "", "detail": ""},
    OutputError: {"reason": ""},
    IllegalMoveError: {"story": ()},
    OverloadedError: {"retry_after_seconds": 1.0},
}
"""What a class carries beside its message, and what stands there where the other side did not say."""


def error_to_wire(error: CorpGridError) -> bytes:
    """What happened, why, and what to do next."""
    names = _ATTRIBUTES.get(type(error), {})
    attributes = json.dumps({name: getattr(error, name) for name in names}) if names else ""
    return pb.ErrorDetail(
        code=error.code,
        message=_short(wire_text(str(error)), ERROR_BYTES // 2),
        remedy=_short(wire_text(error.remedy), ERROR_BYTES // 4),
        attributes=attributes if len(attributes) <= ERROR_BYTES // 4 else "",
    ).SerializeToString()


def error_from_wire(content: bytes) -> CorpGridError:
    """The same error; bytes that hold none become a ``MalformedDataError``."""
    try:
        message = check.parse(pb.ErrorDetail, content)
    except MalformedDataError as malformed:
        return malformed
    kind = CLASSES.get(message.code, GridError)
    error = kind.__new__(kind)
    CorpGridError.__init__(error, message.message, remedy=message.remedy)
    for name, value in _attributes(kind, message.attributes).items():
        setattr(error, name, value)
    return error


def _attributes(kind: type[CorpGridError], text: str) -> Mapping[str, object]:
    try:
        given = json.loads(text) if text else {}
    except ValueError:
        given = {}
    said = given if isinstance(given, dict) else {}
    values = {name: said.get(name, default) for name, default in _ATTRIBUTES.get(kind, {}).items()}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def _short(text: str, limit: int) -> str:
    """At most ``limit`` bytes of UTF-8."""
    content = text.encode()
    return text if len(content) <= limit else content[: limit - 4].decode(errors="ignore") + " ..."


def _tree(root: type[CorpGridError]) -> Iterator[type[CorpGridError]]:
    yield root
    for kind in root.__subclasses__():
        yield from _tree(kind)


CLASSES: Mapping[str, type[CorpGridError]] = {kind.code: kind for kind in _tree(CorpGridError)}
"""Every class of the tree by its code."""
