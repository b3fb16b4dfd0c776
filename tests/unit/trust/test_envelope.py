"""Signed envelopes: the specification's vector, and what is refused."""

import base64
import json

import pytest

from corpgrid.errors import SignatureError, UntrustedKeyError
from corpgrid.trust import canonical
from corpgrid.trust.envelope import open_envelope, pae, read_envelope, seal
from corpgrid.trust.keys import Keyring, PrivateKey

KIND = "application/vnd.example+json"
KEYS = [PrivateKey.from_raw(bytes([seed]) * 32) for seed in range(9)]
KEY = KEYS[0]
RING = Keyring([KEY.public])
SEALED = seal(KIND, b"hello", KEY)


def opened(content: bytes, ring: Keyring = RING, kind: str = KIND):
    return open_envelope(content, payload_type=kind, keyring=ring)


def changed(**fields) -> bytes:
    return canonical.encode({**json.loads(SEALED), **fields})


def test_the_published_encoding():
    assert pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )
    assert pae("é", b"") == "DSSEv1 2 é 0 ".encode()


def test_the_layout_is_the_published_one():
    fields = json.loads(SEALED)
    assert base64.b64decode(fields["payload"]) == b"hello"
    assert fields["payloadType"] == KIND
    (signature,) = fields["signatures"]
    assert signature["keyid"] == KEY.public.key_id
    KEY.public.verify(base64.b64decode(signature["sig"]), pae(KIND, b"hello"))


def test_it_opens_for_those_who_trust_a_signer():
    assert opened(SEALED) == (b"hello", KEY.public.key_id)
    both = seal(KIND, b"hello", KEYS[1], KEY)
    assert opened(both) == (b"hello", KEY.public.key_id)
    assert opened(both, Keyring([KEYS[1].public]))[1] == KEYS[1].public.key_id
    assert len(read_envelope(both).signatures) == 2
    assert seal(KIND, b"hello", KEY, KEYS[1]) == both


def test_it_stays_shut_for_others():
    with pytest.raises(UntrustedKeyError, match=KEY.public.key_id):
        opened(SEALED, Keyring([KEYS[1].public]))
    with pytest.raises(UntrustedKeyError):
        opened(SEALED, Keyring())


def test_it_is_not_another_type():
    with pytest.raises(SignatureError, match="where 'application/other' is wanted"):
        opened(SEALED, kind="application/other")
    with pytest.raises(SignatureError, match="does not fit key"):
        opened(changed(payloadType="application/other"), kind="application/other")


def test_every_trusted_signature_must_hold():
    fields = json.loads(seal(KIND, b"hello", KEY, KEYS[1]))
    fields["signatures"][1]["sig"] = base64.b64encode(bytes(64)).decode()
    with pytest.raises(SignatureError, match="does not fit"):
        opened(canonical.encode(fields), Keyring([KEY.public, KEYS[1].public]))


def test_another_payload_is_refused():
    with pytest.raises(SignatureError, match="does not fit"):
        opened(changed(payload=base64.b64encode(b"hullo").decode()))


ENTRY = json.loads(SEALED)["signatures"][0]
MISFITS = {
    "no signature": changed(signatures=[]),
    "too many signatures": changed(signatures=[ENTRY] * 9),
    "one key twice": changed(signatures=[ENTRY, ENTRY]),
    "an unknown field": changed(extra=1),
    "a missing field": canonical.encode({"payload": "", "payloadType": KIND}),
    "an unknown field of a signature": changed(signatures=[{**ENTRY, "extra": ""}]),
    "a short signature": changed(signatures=[{**ENTRY, "sig": "AAAA"}]),
    "a key id that is no text": changed(signatures=[{**ENTRY, "keyid": 1}]),
    "a signature that is no map": changed(signatures=["sig"]),
    "signatures that are no list": changed(signatures=ENTRY),
    "a type that is no text": changed(payloadType=1),
    "a payload that is no text": changed(payload=1),
    "a payload that is not ASCII": changed(payload="é"),
    "damaged base64": changed(payload="aGVsbG8"),
    "base64 with loose bits": changed(payload="aGVsbG9="),
    "base64 with line ends": changed(payload="aGVs\nbG8="),
    "the other base64": changed(payload="-_8="),
    "no object": b"[]",
    "a number": b"5",
    "a number of signatures": changed(signatures=5),
    "a signature that is a number": changed(signatures=[5]),
    "no JSON": b"hello",
    "spaces": SEALED.replace(b",", b", "),
    "a line end": SEALED + b"\n",
    "a key twice": SEALED.replace(b"{", b'{"payload":"",', 1),
    "nothing": b"",
}


@pytest.mark.parametrize("content", MISFITS.values(), ids=MISFITS)
def test_what_is_no_envelope_is_refused(content):
    with pytest.raises(SignatureError, match="no signed envelope"):
        opened(content)


def test_signatures_stand_in_one_order():
    fields = json.loads(seal(KIND, b"hello", KEY, KEYS[1]))
    fields["signatures"].reverse()
    with pytest.raises(SignatureError, match="canonical"):
        opened(canonical.encode(fields))


def test_size_is_limited():
    with pytest.raises(SignatureError, match=f"{len(SEALED)} bytes of JSON where {len(SEALED) - 1} are allowed"):
        open_envelope(SEALED, payload_type=KIND, keyring=RING, max_bytes=len(SEALED) - 1)


def test_as_many_keys_sign_as_are_allowed():
    assert opened(seal(KIND, b"hello", *KEYS[:8]))[0] == b"hello"
    for keys in ([], KEYS[:9]):
        with pytest.raises(AssertionError):
            seal(KIND, b"hello", *keys)
    with pytest.raises(SignatureError, match="it has 9 signatures where 1 to 8 are allowed"):
        opened(changed(signatures=[ENTRY] * 9))
    with pytest.raises(SignatureError, match="one key signed it twice"):
        opened(changed(signatures=[ENTRY, ENTRY]))


def test_a_key_signs_once():
    with pytest.raises(AssertionError, match="once"):
        seal(KIND, b"", KEY, KEY)
