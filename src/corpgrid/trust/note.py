"""Signed notes: text that people can read, with signatures in lines behind it (C2SP, ``signed-note``).

    corpgrid.example/log
    2
    XrMqj3+hGnyyjpZwmT...=

    — corpgrid.example/log Az3grlgtzPIC...=

Rules:
* The text is UTF-8, ends with a line break, and has no control characters but line breaks.  An empty line divides it
  from its signatures; it is the last empty line, so that text may have others.
* A signature line names its key: a name without spaces or pluses, and the first four bytes of SHA-256 over name, line
  break, algorithm (1: Ed25519) and public key.  They point to a key, and prove nothing.
* Signatures of keys that are not known are no concern of ours; one of a known key that does not fit spoils the note.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import NamedTuple

from corpgrid.errors import MalformedDataError, SignatureError, UntrustedKeyError
from corpgrid.trust.keys import PrivateKey, PublicKey

NOTE_BYTES = 64 << 10
_DASH = "\u2014 "
_ED25519 = b"\x01"
_ID_BYTES = 4
_SIGNATURE_BYTES = 64


class NoteKey(NamedTuple):
    """A public key under the name that it signs notes with."""

    name: str
    key: PublicKey

    @property
    def id(self) -> bytes:
        """Four bytes by which a signature line names it."""
        return sha256(f"{self.name}\n".encode() + _ED25519 + self.key.raw).digest()[:_ID_BYTES]

    def __str__(self) -> str:
        """The form in which such keys are passed on: ``NAME+ID+KEY``."""
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(_ED25519 + self.key.raw).decode()}"


def sign_note(text: str, name: str, key: PrivateKey) -> bytes:
    """The note with one signature."""
    assert _is_text(text), "a note's text ends with a line break and has no other control characters"
    assert _is_name(name), "a key's name has no spaces and no pluses"
    signature = NoteKey(name, key.public).id + key.sign(text.encode())
    return f"{text}\n{_DASH}{name} {base64.b64encode(signature).decode()}\n".encode()


def open_note(note: bytes, keys: Iterable[NoteKey]) -> tuple[str, tuple[NoteKey, ...]]:
    """The text, and those of the keys that signed it: one at least.

    Raises:
        MalformedDataError: these bytes are no note.
        SignatureError: a signature of one of these keys does not fit.
        UntrustedKeyError: none of these keys signed it.
    """
    text, signatures = _parse(note)
    known = {(key.name, key.id): key for key in keys}
    signed = dict[NoteKey, None]()
    for name, signature in signatures:
        key = known.get((name, signature[:_ID_BYTES]))
        if key is None:
            continue
        if len(signature) != _ID_BYTES + _SIGNATURE_BYTES:
            raise SignatureError(f"the signature of {name} has {len(signature) - _ID_BYTES} bytes, and needs 64")
        key.key.verify(signature[_ID_BYTES:], text.encode())
        signed[key] = None
    if not signed:
        names = ", ".join(sorted({name for name, _ in signatures}))
        raise UntrustedKeyError(f"the note is signed by {names}, by none of the keys that are believed here")
    return text, tuple(signed)


def _parse(note: bytes) -> tuple[str, Sequence[tuple[str, bytes]]]:
    try:
        whole = note.decode() if len(note) <= NOTE_BYTES else ""
    except UnicodeDecodeError:
        whole = ""
    text, divided, rest = whole.rpartition("\n\n")
    text += "\n"
    if not (divided and rest.endswith("\n") and _is_text(text)):
        raise MalformedDataError("the bytes are no signed note: text, an empty line, and lines with signatures")
    return text, [_signature(line) for line in rest[:-1].split("\n")]


def _signature(line: str) -> tuple[str, bytes]:
    name, _, coded = line.removeprefix(_DASH).partition(" ")
    try:
        content = base64.b64decode(coded, validate=True)
    except (binascii.Error, ValueError):
        content = b""
    well_formed = line.startswith(_DASH) and _is_name(name) and len(content) > _ID_BYTES
    if not well_formed or base64.b64encode(content).decode() != coded:
        raise MalformedDataError(f"{line[:80]!r} is no signature line of a note")
    return name, content


def _is_text(text: str) -> bool:
    return text.endswith("\n") and all(letter >= " " or letter == "\n" for letter in text)


def _is_name(name: str) -> bool:
    return bool(name) and "+" not in name and not any(letter.isspace() or letter < " " for letter in name)
