"""The error of a child process that was started with ``--json``: it stands in the last line that the child printed."""

from __future__ import annotations

import json
from typing import Any

from corpgrid.errors import CorpGridError, UnavailableError
from corpgrid.sdk.text import printable
from corpgrid.wire.convert_errors import CLASSES

SAID_BYTES = 16_384
"""How much of what a child said last is kept; its error must fit in."""

_TOLD_CHARACTERS = 4_096


def printed_error(said: str, what: str) -> CorpGridError | None:
    """The error in the last line of what a child said, as what it was and with its remedy; None if there is none.

    Args:
        said: what the child printed on standard error, or the end of that.
        what: what became of the child; the error's message begins with it.
    """
    try:
        told: Any = json.loads(said.strip().rpartition("\n")[2])
        kind = CLASSES.get(told["error"], UnavailableError)
        if kind.__init__ is not CorpGridError.__init__:
            kind = UnavailableError
        return kind(f"{what}: {told['message']}", remedy=told["remedy"])
    except (ValueError, KeyError, TypeError):
        return None


def child_error(said: str, what: str) -> CorpGridError:
    """The error that a child printed last, otherwise what it said."""
    told = printable(said.strip()[-_TOLD_CHARACTERS:])
    return printed_error(said, what) or UnavailableError(
        f"{what}: {told}" if told else what, remedy="`corpgrid doctor` says what is wrong here."
    )
