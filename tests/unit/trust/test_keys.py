"""Ed25519 keys, and which of them are refused."""

import pickle

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from corpgrid.domain import ids
from corpgrid.errors import SignatureError, TrustError, UntrustedKeyError
from corpgrid.trust.digest import digest
from corpgrid.trust.keys import Keyring, PrivateKey, PublicKey

KEY = PrivateKey.from_raw(bytes(range(32)))
P = 2**255 - 19
D = -121665 * pow(121666, -1, P) % P


def test_the_first_published_vector():
    key = PrivateKey.from_raw(bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"))
    assert key.public.raw.hex() == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    assert key.sign(b"").hex() == (
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
        "d25bf5f0595bbe24655141438e7a100b"
    )


def test_a_signature_holds_for_its_message_and_key_alone():
    signature = KEY.sign(b"message")
    KEY.public.verify(signature, b"message")
    for key, wrong, message in [
        (KEY.public, signature, b"another"),
        (PrivateKey.generate().public, signature, b"message"),
        (KEY.public, signature[:-1], b"message"),
        (KEY.public, b"", b"message"),
        (KEY.public, bytes(64), b"message"),
    ]:
        with pytest.raises(SignatureError):
            key.verify(wrong, message)


def test_names_come_from_the_raw_key():
    assert KEY.public.key_id == ids.key_id(digest(KEY.public.raw))
    assert KEY.public.device_id == ids.device_id(digest(KEY.public.raw))


def test_pem_round_trips():
    assert PrivateKey.from_pem(KEY.to_pem()).sign(b"x") == KEY.sign(b"x")
    assert PublicKey.from_pem(KEY.public.to_pem()) == KEY.public
    assert PublicKey.from_raw(KEY.public.raw) == KEY.public
    assert len({KEY.public, PublicKey.from_raw(KEY.public.raw)}) == 1
    assert KEY.public not in (PrivateKey.generate().public, KEY.public.raw, KEY.public.key_id)


def test_another_kind_of_key_is_refused():
    curve = generate_private_key(SECP256R1())
    private = curve.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = curve.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    locked = load_pem_private_key(KEY.to_pem(), None).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
    )
    for pem in (private, locked, KEY.public.to_pem(), b"", b"-----BEGIN PRIVATE KEY-----\n"):
        with pytest.raises(TrustError, match="key"):
            PrivateKey.from_pem(pem)
    for pem in (public, KEY.to_pem(), b"", b"\xff"):
        with pytest.raises(TrustError, match="key"):
            PublicKey.from_pem(pem)


def add(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    """Of points of the curve -x^2 + y^2 = 1 + d x^2 y^2, as its definition has it."""
    (x1, y1), (x2, y2) = one, other
    product = D * x1 * x2 * y1 * y2 % P
    return (
        (x1 * y2 + x2 * y1) * pow(1 + product, -1, P) % P,
        (y1 * y2 + x1 * x2) * pow(1 - product, -1, P) % P,
    )


def point(y: int) -> tuple[int, int]:
    """A point with this y; P = 5 (mod 8), so that a root is found in one of two ways."""
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * pow(2, (P - 1) // 4, P) % P
    assert x * x % P == square
    return x, y


def small_order_points() -> set[int]:
    """The y of every point whose eightfold is the neutral element, found by walking its subgroup of order 8."""
    eighth = next(
        found for y in range(2, 50) if is_on_curve(y) and times(4, found := times(COFACTOR_FREE, point(y))) != (0, 1)
    )
    return {times(turns, eighth)[1] for turns in range(1, 9)}


COFACTOR_FREE = 2**252 + 27742317777372353535851937790883648493


def is_on_curve(y: int) -> bool:
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    return pow(square, (P - 1) // 2, P) in (0, 1)


def times(scalar: int, base: tuple[int, int]) -> tuple[int, int]:
    total = (0, 1)
    while scalar:
        if scalar & 1:
            total = add(total, base)
        base, scalar = add(base, base), scalar >> 1
    return total


def test_points_for_which_anybody_could_sign_are_refused():
    found = small_order_points()
    assert len(found) == 5
    for y in found:
        for sign in (0, 1 << 255):
            with pytest.raises(TrustError, match="small order"):
                PublicKey.from_raw((y | sign).to_bytes(32, "little"))


def test_points_written_in_another_way_are_refused():
    for y in range(P, 2**255):
        with pytest.raises(TrustError, match="canonical"):
            PublicKey.from_raw(y.to_bytes(32, "little"))


@pytest.mark.parametrize("length", [0, 31, 33])
def test_keys_have_32_bytes(length):
    with pytest.raises(TrustError, match=f"{length} bytes"):
        PublicKey.from_raw(bytes(length))
    with pytest.raises(TrustError, match=f"not {length}"):
        PrivateKey.from_raw(bytes(length))


def test_a_private_key_does_not_show_itself():
    assert repr(KEY) == f"PrivateKey(of {KEY.public.key_id})"
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(KEY)


def test_a_keyring_finds_what_it_trusts():
    other = PrivateKey.generate().public
    keyring = Keyring([KEY.public, KEY.public])
    assert keyring.find(KEY.public.key_id) is KEY.public
    assert list(keyring) == [KEY.public.key_id]
    assert len(keyring) == 1
    assert other.key_id not in keyring
    with pytest.raises(UntrustedKeyError, match=other.key_id):
        keyring.find(other.key_id)
    with pytest.raises(TypeError):
        keyring[other.key_id] = other
