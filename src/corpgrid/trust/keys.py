"""Ed25519 keys: who signs, who is believed.

* A key is named by the digest of its raw public half: a key id where people sign, a device id where a device does.
* A public key that cannot bind its owner is refused: points of small order, for which one signature fits many messages,
  and points not written in the one way that counts.
* A private key never shows itself: not in ``repr``, not by pickling.
* A keyring is a frozen mapping; whose key is not in it is not believed.

>>> key = PrivateKey.generate()
>>> key.public.verify(key.sign(b"hello"), b"hello")
>>> Keyring([key.public]).find(key.public.key_id) == key.public
True
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import NoReturn

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from corpgrid.domain import ids
from corpgrid.domain.ids import DeviceId, KeyId
from corpgrid.errors import SignatureError, TrustError, UntrustedKeyError
from corpgrid.trust.digest import digest

RAW_BYTES = 32
SIGNATURE_BYTES = 64

_FIELD_PRIME = 2**255 - 19
_EIGHTH = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
"""The y of the points of order 8 (up to sign): doubled twice they give (±sqrt(-1), 0)."""
_SMALL_ORDER_Y = frozenset({0, 1, _FIELD_PRIME - 1, _EIGHTH, _FIELD_PRIME - _EIGHTH})


class PublicKey:
    """The half that everybody may see."""

    __slots__ = ("__dict__", "_key", "raw")

    def __init__(self, raw: bytes) -> None:
        fault = _point_fault(raw)
        if fault:
            raise TrustError(f"this is no Ed25519 public key: {fault}", remedy="Make one with `corpgrid key new`.")
        self.raw = bytes(raw)
        self._key = Ed25519PublicKey.from_public_bytes(self.raw)

    @classmethod
    def from_raw(cls, raw: bytes) -> PublicKey:
        """Read 32 raw bytes.

        Raises:
            TrustError: they are not a public key that can be believed.
        """
        return cls(raw)

    @classmethod
    def from_pem(cls, pem: bytes) -> PublicKey:
        """Read PEM (SubjectPublicKeyInfo).

        Raises:
            TrustError: it is not an Ed25519 public key.
        """
        try:
            key = load_pem_public_key(pem)
        except (ValueError, TypeError, UnsupportedAlgorithm) as cause:
            raise TrustError("the bytes are no public key in PEM form", remedy=_PEM_REMEDY) from cause
        if not isinstance(key, Ed25519PublicKey):
            raise TrustError(f"the key is {type(key).__name__} where Ed25519 is needed", remedy=_PEM_REMEDY)
        return cls(key.public_bytes_raw())

    @cached_property
    def key_id(self) -> KeyId:
        """Its name where people sign."""
        return ids.key_id(digest(self.raw))

    @cached_property
    def device_id(self) -> DeviceId:
        """Its name where a device signs."""
        return ids.device_id(digest(self.raw))

    def to_pem(self) -> bytes:
        """PEM (SubjectPublicKeyInfo)."""
        return self._key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def verify(self, signature: bytes, message: bytes) -> None:
        """Check a signature.

        Raises:
            SignatureError: this key did not sign this message.
        """
        try:
            self._key.verify(signature, message)
        except InvalidSignature:
            raise SignatureError(f"the signature does not fit key {self.key_id}") from None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PublicKey) and self.raw == other.raw

    def __hash__(self) -> int:
        return hash(self.raw)

    def __repr__(self) -> str:
        return f"PublicKey({self.key_id})"


class PrivateKey:
    """The half that signs."""

    __slots__ = ("_key", "public")

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = PublicKey(key.public_key().public_bytes_raw())

    @classmethod
    def generate(cls) -> PrivateKey:
        """A new key, from the system's randomness."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_raw(cls, seed: bytes) -> PrivateKey:
        """The key of a 32-byte seed: the same seed gives the same key, which simulations and golden tests need."""
        if len(seed) != RAW_BYTES:
            raise TrustError(f"a private key's seed has {RAW_BYTES} bytes, not {len(seed)}")
        return cls(Ed25519PrivateKey.from_private_bytes(seed))

    @classmethod
    def from_pem(cls, pem: bytes) -> PrivateKey:
        """Read PEM (PKCS #8, not encrypted).

        Raises:
            TrustError: it is not an Ed25519 private key.
        """
        try:
            key = load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as cause:
            raise TrustError("the bytes are no unencrypted private key in PEM form", remedy=_PEM_REMEDY) from cause
        if not isinstance(key, Ed25519PrivateKey):
            raise TrustError(f"the key is {type(key).__name__} where Ed25519 is needed", remedy=_PEM_REMEDY)
        return cls(key)

    def to_pem(self) -> bytes:
        """PEM (PKCS #8, not encrypted): whoever reads it can sign."""
        return self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def sign(self, message: bytes) -> bytes:
        """64 bytes; the same message always gives the same signature."""
        return self._key.sign(message)

    def __repr__(self) -> str:
        return f"PrivateKey(of {self.public.key_id})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a private key is not pickled: write it with host.keyfiles")


class Keyring(Mapping[KeyId, PublicKey]):
    """The keys that are believed here; it never changes."""

    __slots__ = ("_keys",)

    def __init__(self, keys: Iterable[PublicKey] = ()) -> None:
        self._keys = {key.key_id: key for key in keys}

    def find(self, key_id: KeyId) -> PublicKey:
        """The key of this name.

        Raises:
            UntrustedKeyError: it is not believed here.
        """
        key = self._keys.get(key_id)
        if key is None:
            raise UntrustedKeyError(f"key {key_id} is not among the {len(self._keys)} keys trusted here")
        return key

    def __getitem__(self, key_id: KeyId) -> PublicKey:
        return self._keys[key_id]

    def __iter__(self) -> Iterator[KeyId]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def __repr__(self) -> str:
        return f"Keyring({', '.join(self._keys)})"


_PEM_REMEDY = "Name a file that `corpgrid key new` wrote."


def _point_fault(raw: bytes) -> str:
    """Why these bytes cannot be believed as a public key, or nothing."""
    if len(raw) != RAW_BYTES:
        return f"it has {len(raw)} bytes, not {RAW_BYTES}"
    y = int.from_bytes(raw, "little") & ((1 << 255) - 1)
    if y >= _FIELD_PRIME:
        return "its point is not written in canonical form"
    if y in _SMALL_ORDER_Y:
        return "its point is of small order, so that anybody could sign for it"
    return ""
