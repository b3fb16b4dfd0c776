"""What a log says of itself: its name, its size and its root, as a signed note (C2SP, ``tlog-checkpoint``).

Two checkpoints of one log that no consistency proof joins are evidence that it was rewritten, or shown to two readers
in two forms; the signatures make it evidence that cannot be denied.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from typing import NamedTuple

from corpgrid.errors import MalformedDataError
from corpgrid.trust.keys import PrivateKey
from corpgrid.trust.log_tree import HASH_BYTES
from corpgrid.trust.note import NoteKey, open_note, sign_note

_SIZE = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
_LINES = 3


class Checkpoint(NamedTuple):
    """The state of a log.

    Attributes:
        origin: names the log for ever, and is the name of the key that signs it.
        size: entries.
        root: of their tree (``log_tree``), 32 bytes.
    """

    origin: str
    size: int
    root: bytes


def sign_checkpoint(checkpoint: Checkpoint, key: PrivateKey) -> bytes:
    """As a note, signed by the log's key."""
    assert len(checkpoint.root) == HASH_BYTES
    assert checkpoint.size >= 0
    text = f"{checkpoint.origin}\n{checkpoint.size}\n{base64.b64encode(checkpoint.root).decode()}\n"
    return sign_note(text, checkpoint.origin, key)


def open_checkpoint(note: bytes, origin: str, keys: Iterable[NoteKey]) -> Checkpoint:
    """The checkpoint of the log ``origin`` that one of these keys signed.

    Raises:
        MalformedDataError: these bytes are no checkpoint, or one of another log.
        SignatureError, UntrustedKeyError: as ``open_note``.
    """
    text, _ = open_note(note, keys)
    lines = text[:-1].split("\n")
    if len(lines) != _LINES or not _SIZE.fullmatch(lines[1]):
        raise MalformedDataError("the note is no checkpoint: a log's name, its size and its root")
    try:
        root = base64.b64decode(lines[2], validate=True)
    except (binascii.Error, ValueError):
        root = b""
    if len(root) != HASH_BYTES or base64.b64encode(root).decode() != lines[2]:
        raise MalformedDataError(f"{lines[2][:80]!r} is no root of a log: 32 bytes in base64")
    if lines[0] != origin:
        raise MalformedDataError(f"the checkpoint is of the log {lines[0]!r} where one of {origin!r} is wanted")
    return Checkpoint(origin, int(lines[1]), root)
