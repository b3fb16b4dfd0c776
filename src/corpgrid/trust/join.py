"""Join tokens: what an operator hands to a new device, so that each knows the other at their first meeting.

    cgj_<base64url of canonical JSON>

Rules:
* It says where the grid takes new devices, the pin of the grid's root (``certificates.pin_of``), and the token's id
  with its secret.  The device believes only who shows a chain from that root; the grid believes who shows the secret.
* The grid keeps the secret's digest, never the secret: what is in its database lets nobody in.  The secret has 256 bits
  of chance, so one round of SHA-256 is enough, and nothing is gained by a slow hash.
* It has one spelling; a wrong letter is refused before anybody is called.

What a token is good for (site, owner, uses, expiry) is the grid's to know, and not said by the token.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from hashlib import sha256
from hmac import compare_digest
from typing import NamedTuple

from corpgrid.errors import MalformedDataError, NotDataError, UntrustedKeyError
from corpgrid.trust import canonical

PREFIX = "cgj_"
SECRET_BYTES = 32
PIN_BYTES = 32
MAX_ADDRESSES = 16
_TOKEN_CHARACTERS = 8_192
_FIELDS = {"addresses", "grid", "id", "pin", "secret"}
_WORD = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)
_REMEDY = "Copy the whole token, in one line, as it was printed when it was made."


class JoinToken(NamedTuple):
    """What a device needs to enrol.

    Attributes:
        grid: the grid's id.
        addresses: where it takes new devices.
        pin: of the grid's root certificate, 32 bytes.
        id: by which the grid finds what it knows of the token.
        secret: 32 random bytes, from whoever makes the token.
    """

    grid: str
    addresses: tuple[str, ...]
    pin: bytes
    id: str
    secret: bytes

    @property
    def secret_digest(self) -> bytes:
        """What the grid keeps of the secret, 32 bytes."""
        return sha256(self.secret).digest()

    def encode(self) -> str:
        """One line without spaces."""
        content = canonical.encode(
            {
                "grid": self.grid,
                "addresses": list(self.addresses),
                "pin": self.pin.hex(),
                "id": self.id,
                "secret": self.secret.hex(),
            }
        )
        return PREFIX + base64.urlsafe_b64encode(content).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str) -> JoinToken:
        """Read a token as a person gave it.

        Raises:
            MalformedDataError: it is none, or a letter of it was changed or lost.
        """
        text = text.strip()
        try:
            found = _read(canonical.decode(_content(text)))
        except (MalformedDataError, binascii.Error, ValueError, NotDataError) as cause:
            raise MalformedDataError(f"the text is no join token: {cause.args[0]}", remedy=_REMEDY) from None
        if found.encode() != text:
            raise MalformedDataError("the text is no join token as one is written", remedy=_REMEDY)
        return found


def require_secret(shown: bytes, kept_digest: bytes) -> None:
    """Check a secret against what was kept of it; the time it takes does not tell where they differ.

    Raises:
        UntrustedKeyError: it is another.
    """
    if not compare_digest(sha256(shown).digest(), kept_digest):
        raise UntrustedKeyError("the join token's secret is not the one that it was made with", remedy=_REMEDY)


def _content(text: str) -> bytes:
    if not text.startswith(PREFIX) or len(text) > _TOKEN_CHARACTERS:
        raise MalformedDataError("there is no token in it")
    coded = text.removeprefix(PREFIX)
    return base64.b64decode(coded + "=" * (-len(coded) % 4), altchars=b"-_", validate=True)


def _read(fields: object) -> JoinToken:
    if not isinstance(fields, dict) or set(fields) != _FIELDS:
        raise MalformedDataError("its fields are not those of a token")
    grid, name, addresses = fields["grid"], fields["id"], fields["addresses"]
    if not all(isinstance(word, str) and _WORD.fullmatch(word) for word in (grid, name)):
        raise MalformedDataError("its grid or its id is no name")
    return JoinToken(
        grid=grid,
        addresses=_addresses(addresses),
        pin=_bytes(fields["pin"], PIN_BYTES, "pin"),
        id=name,
        secret=_bytes(fields["secret"], SECRET_BYTES, "secret"),
    )


def _addresses(value: object) -> tuple[str, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str) or not 0 < len(value) <= MAX_ADDRESSES:
        raise MalformedDataError(f"it needs 1 to {MAX_ADDRESSES} addresses")
    if not all(isinstance(address, str) and address and address.isprintable() for address in value):
        raise MalformedDataError("one of its addresses is none")
    return tuple(value)


def _bytes(value: object, size: int, name: str) -> bytes:
    content = bytes.fromhex(value) if isinstance(value, str) else b""
    if len(content) != size:
        raise MalformedDataError(f"its {name} has {len(content)} bytes where {size} are needed")
    return content
