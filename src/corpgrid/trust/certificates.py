"""Certificates as they are read: keys and chains as text, what a request proves, whom a certificate names.

* A request for a certificate proves that whoever sends it holds the key, and says nothing else that is believed: the
  identity is the issuer's decision (``pki``).
* A certificate is believed if every signature up to a root that is believed holds, everybody on the way may sign, and
  all are good at this moment.  It names one holder by one URI, or nobody.
* A root is known by its **pin**, SHA-256 over its public key, short enough to travel in a token.

Sources: RFC 5280 (profile and paths), RFC 7469 section 2.4 (pins).
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from corpgrid.errors import ExpiredError, MalformedDataError, UntrustedKeyError
from corpgrid.trust.identity import Identity

REQUEST_BYTES = 8 << 10
_CURVE = ec.SECP256R1


def new_key() -> ec.EllipticCurvePrivateKey:
    """A key for a certificate."""
    return ec.generate_private_key(_CURVE())


def key_to_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """PKCS 8, not encrypted: it belongs in a file of mode 0600 (``host.keyfiles``)."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def key_from_pem(pem: bytes) -> ec.EllipticCurvePrivateKey:
    """Read it again.

    Raises:
        MalformedDataError: it is no P-256 private key.
    """
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as cause:
        raise MalformedDataError("the bytes are no private key in PEM form") from cause
    if not (isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, _CURVE)):
        raise MalformedDataError("the private key is not one on P-256, which certificates need")
    return key


def request_certificate(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A request in PEM: the public key, signed by its private half."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return builder.sign(key, SHA256()).public_bytes(Encoding.PEM)


def requested_key(request: bytes) -> ec.EllipticCurvePublicKey:
    """The key that a request is about; whatever else it says is not believed.

    Raises:
        MalformedDataError: it is no request, or its key is not on P-256.
        UntrustedKeyError: whoever made it does not hold the key.
    """
    if len(request) > REQUEST_BYTES:
        raise MalformedDataError(f"the request has {len(request):,} bytes where {REQUEST_BYTES:,} are enough")
    try:
        read = x509.load_pem_x509_csr(request)
        key, proven = read.public_key(), read.is_signature_valid
    except (ValueError, TypeError, InvalidSignature) as cause:
        raise MalformedDataError("the bytes are no request for a certificate in PEM form") from cause
    if not (isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, _CURVE)):
        raise MalformedDataError("the request is for a key that is not on P-256")
    if not proven:
        raise UntrustedKeyError("the request for a certificate is not signed by the key that it is for")
    return key


def check_certificate(certificate: x509.Certificate, chain: Sequence[x509.Certificate], *, now: float) -> Identity:
    """Who holds this certificate.

    Args:
        certificate: of somebody who has shown that he holds its key.
        chain: who signed it, who signed that one, and so on; the last is the root that is believed.
        now: seconds since the epoch.

    Raises:
        UntrustedKeyError: it was not signed by this chain.
        ExpiredError: it, or one of the chain, is not good now.
        MalformedDataError: it names nobody.
    """
    assert chain, "without a root anybody would be believed"
    signed = certificate
    for depth, authority in enumerate(chain):
        _require_authority(signed, authority, depth)
        signed = authority
    for link in (certificate, *chain):
        begin, end = link.not_valid_before_utc.timestamp(), link.not_valid_after_utc.timestamp()
        if not begin <= now <= end:
            raise ExpiredError(
                f"the certificate of {link.subject.rfc4514_string() or 'nobody'} is good from "
                f"{link.not_valid_before_utc:%Y-%m-%d %H:%M} to {link.not_valid_after_utc:%Y-%m-%d %H:%M} UTC",
                remedy="Look at the clock of this machine; if it is right, the certificate has to be renewed.",
            )
    return identity_of(certificate)


def identity_of(certificate: x509.Certificate) -> Identity:
    """Who it says its holder is; only to be asked of one whose signatures were checked.

    Raises:
        MalformedDataError: it does not name one, and only one.
    """
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    except (x509.ExtensionNotFound, ValueError):
        uris = []
    if len(uris) != 1:
        raise MalformedDataError(f"the certificate has {len(uris)} URIs where it needs one that names its holder")
    return Identity.parse(uris[0])


def certificate_to_pem(*certificates: x509.Certificate) -> bytes:
    """One or a chain, the holder's first."""
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)


def certificates_from_pem(pem: bytes) -> list[x509.Certificate]:
    """All of them, in order.

    Raises:
        MalformedDataError: these bytes are no certificates.
    """
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as cause:
        raise MalformedDataError("the bytes are no certificates in PEM form") from cause


def pin_of(certificate: x509.Certificate) -> bytes:
    """SHA-256 over its public key (SubjectPublicKeyInfo): 32 bytes by which a root is recognised."""
    spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return sha256(spki).digest()


def _require_authority(signed: x509.Certificate, authority: x509.Certificate, depth: int) -> None:
    """``authority`` signed it, and may: it is one, and ``depth`` others may stand below it."""
    try:
        constraints = authority.extensions.get_extension_for_class(x509.BasicConstraints).value
        signed.verify_directly_issued_by(authority)
    except (InvalidSignature, ValueError, TypeError, x509.ExtensionNotFound):
        raise UntrustedKeyError(
            f"the certificate of {signed.subject.rfc4514_string() or 'nobody'} was not signed by "
            f"{authority.subject.rfc4514_string()}"
        ) from None
    length = constraints.path_length
    if not constraints.ca or (length is not None and depth > length):
        raise UntrustedKeyError(f"{authority.subject.rfc4514_string()} may not sign certificates of this kind")
