"""Signed envelopes (DSSE 1.0): a payload, what it is, and who signed it.

* What is signed is the pre-authentication encoding ``pae(payload_type, payload)``: a signature over one type of payload
  never passes for another's.
* The JSON form is canonical (``trust.canonical``, standard base64, signatures sorted by key id), and only that form is
  read.  DSSE leaves the layout open; here one envelope has one spelling, so that no bit of it can be changed unseen.
* The key id is a hint: it chooses the key that must then hold.

>>> from corpgrid.trust.keys import Keyring, PrivateKey
>>> key = PrivateKey.generate()
>>> content = seal("application/vnd.example+json", b"{}", key)
>>> payload, signer = open_envelope(content, payload_type="application/vnd.example+json", keyring=Keyring([key.public]))
>>> payload, signer == key.public.key_id
(b'{}', True)
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass

from corpgrid.domain.ids import KeyId
from corpgrid.errors import MalformedDataError, SignatureError, UntrustedKeyError
from corpgrid.trust import canonical
from corpgrid.trust.canonical import Json
from corpgrid.trust.keys import SIGNATURE_BYTES, Keyring, PrivateKey
from corpgrid.trust.limits import MAX_ENVELOPE_BYTES, MAX_SIGNATURES


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """An envelope that was read, and is not yet believed.

    Attributes:
        signatures: key id to signature, in the order of the ids.
    """

    payload_type: str
    payload: bytes
    signatures: Mapping[KeyId, bytes]


def pae(payload_type: str, payload: bytes) -> bytes:
    """The bytes that are signed: DSSE's pre-authentication encoding."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def seal(payload_type: str, payload: bytes, *keys: PrivateKey) -> bytes:
    """An envelope around ``payload``, signed with each of ``keys``."""
    assert 0 < len(keys) <= MAX_SIGNATURES
    message = pae(payload_type, payload)
    signatures = {key.public.key_id: key.sign(message) for key in keys}
    assert len(signatures) == len(keys), "a key signs once"
    return _encode(Envelope(payload_type=payload_type, payload=payload, signatures=signatures))


def open_envelope(
    content: bytes, *, payload_type: str, keyring: Keyring, max_bytes: int = MAX_ENVELOPE_BYTES
) -> tuple[bytes, KeyId]:
    """The payload, and the first trusted key that signed it.

    Raises:
        SignatureError: this is no envelope, it holds another type of payload, or a trusted key's signature is wrong.
        UntrustedKeyError: none of its keys is trusted here.
    """
    envelope = read_envelope(content, max_bytes=max_bytes)
    return envelope.payload, check_envelope(envelope, payload_type=payload_type, keyring=keyring)


def read_envelope(content: bytes, *, max_bytes: int = MAX_ENVELOPE_BYTES) -> Envelope:
    """Read an envelope without believing it.

    Raises:
        SignatureError: this is no envelope in the one form that is read.
    """
    try:
        fields = canonical.decode(content, max_bytes=max_bytes)
    except MalformedDataError as cause:
        raise _no_envelope(str(cause)) from None
    return _read_fields(fields)


def check_envelope(envelope: Envelope, *, payload_type: str, keyring: Keyring) -> KeyId:
    """The first trusted key that signed; the signature of every trusted key must hold.

    Raises:
        SignatureError: it holds another type of payload, or a trusted key's signature is wrong.
        UntrustedKeyError: none of its keys is trusted here.
    """
    if envelope.payload_type != payload_type:
        raise SignatureError(f"the envelope holds {envelope.payload_type!r} where {payload_type!r} is wanted")
    message = pae(payload_type, envelope.payload)
    trusted = [key_id for key_id in envelope.signatures if key_id in keyring]
    for key_id in trusted:
        keyring[key_id].verify(envelope.signatures[key_id], message)
    if not trusted:
        raise UntrustedKeyError(f"it is signed by {', '.join(envelope.signatures)}, and no such key is trusted here")
    return trusted[0]


def _encode(envelope: Envelope) -> bytes:
    return canonical.encode(
        {
            "payload": base64.b64encode(envelope.payload).decode(),
            "payloadType": envelope.payload_type,
            "signatures": [
                {"keyid": key_id, "sig": base64.b64encode(signature).decode()}
                for key_id, signature in sorted(envelope.signatures.items())
            ],
        }
    )


def _read_fields(fields: Json) -> Envelope:
    _require_fields(fields, {"payload", "payloadType", "signatures"})
    kind, entries = fields["payloadType"], fields["signatures"]
    if not isinstance(kind, str) or not isinstance(entries, list):
        raise _no_envelope("payloadType is text, and signatures are a list")
    if not 0 < len(entries) <= MAX_SIGNATURES:
        raise _no_envelope(f"it has {len(entries)} signatures where 1 to {MAX_SIGNATURES} are allowed")
    pairs = [_read_signature(entry) for entry in entries]
    signatures = dict(pairs)
    if len(signatures) != len(pairs):
        raise _no_envelope("one key signed it twice")
    if list(signatures) != sorted(signatures):
        raise _no_envelope("the order of its signatures is not canonical")
    return Envelope(payload_type=kind, payload=_from_base64(fields["payload"]), signatures=signatures)


def _read_signature(entry: Json) -> tuple[KeyId, bytes]:
    _require_fields(entry, {"keyid", "sig"})
    signature = _from_base64(entry["sig"])
    if not isinstance(entry["keyid"], str) or len(signature) != SIGNATURE_BYTES:
        raise _no_envelope(f"a signature has a keyid and {SIGNATURE_BYTES} bytes")
    return KeyId(entry["keyid"]), signature


def _require_fields(fields: Json, names: set[str]) -> None:
    if not isinstance(fields, dict) or set(fields) != names:
        raise _no_envelope(f"it must have exactly the fields {', '.join(sorted(names))}")


def _from_base64(text: Json) -> bytes:
    try:
        content = base64.b64decode(text, validate=True)
    except (TypeError, ValueError) as cause:
        raise _no_envelope(f"its base64 is damaged ({cause})") from None
    if base64.b64encode(content).decode() != text:
        raise _no_envelope("its base64 is not canonical")
    return content


def _no_envelope(why: str) -> SignatureError:
    return SignatureError(f"this is no signed envelope: {why}")
