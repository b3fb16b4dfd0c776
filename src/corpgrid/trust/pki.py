"""A grid's own certificates: a root that is kept offline, an issuer that is at hand, and those who hold one.

    root --> issuer --> device, scheduler, person

Rules:
* Keys of certificates are ECDSA on P-256: handshakes with Ed25519 client certificates fail in gRPC.  What is signed as
  evidence (jobs, results) has Ed25519 keys of its own (``keys``).
* Who somebody is stands in the certificate (``identity``).  The role decides what it is good for: only schedulers may
  serve, everybody may call.
* No certificate outlives its issuer.  Each is good from a little before it was made, for clocks differ.

Sources: RFC 5280 (profile), RFC 6125 (names of servers).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from corpgrid.trust.certificates import new_key
from corpgrid.trust.identity import Identity, Role

ROOT_SECONDS = 10 * 365 * 86_400.0
ISSUER_SECONDS = 365 * 86_400.0
LEAF_SECONDS = 86_400.0
EARLY_SECONDS = 300.0


class Authority(NamedTuple):
    """A certificate that may sign others, with its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def new_root(grid: str, *, now: float, seconds: float = ROOT_SECONDS) -> Authority:
    """The beginning of a grid's trust; its key signs issuers, and is kept offline."""
    key, name = new_key(), _name(f"{grid} root")
    certificate = _authority(key.public_key(), name, name, now, seconds, below=1).sign(key, SHA256())
    return Authority(certificate, key)


def new_issuer(root: Authority, grid: str, *, now: float, seconds: float = ISSUER_SECONDS) -> Authority:
    """What signs certificates day by day; it cannot make another authority."""
    key = new_key()
    end = min(seconds, root.certificate.not_valid_after_utc.timestamp() - now)
    builder = _authority(key.public_key(), _name(f"{grid} issuer"), root.certificate.subject, now, end, below=0)
    return Authority(_signed_by(builder, root), key)


def issue(  # noqa: PLR0913 - what stands in it
    issuer: Authority,
    key: ec.EllipticCurvePublicKey,
    identity: Identity,
    *,
    now: float,
    seconds: float = LEAF_SECONDS,
    hosts: Sequence[str] = (),
) -> x509.Certificate:
    """A certificate for a key.

    Args:
        issuer: who signs.
        key: of whoever asked (``requested_key``).
        identity: who that is.
        now: seconds since the epoch.
        seconds: for how long it is good, at most as long as the issuer.
        hosts: (schedulers) names and IP addresses under which they are called.
    """
    assert not hosts or identity.role is Role.SCHEDULER, "only schedulers serve"
    assert Identity.parse(identity.uri) == identity
    end = min(seconds, issuer.certificate.not_valid_after_utc.timestamp() - now)
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
    if identity.role is Role.SCHEDULER:
        usages.append(ExtendedKeyUsageOID.SERVER_AUTH)
    names = [x509.UniformResourceIdentifier(identity.uri), *map(_host, hosts)]
    builder = (
        _builder(key, _name(identity.name[:64]), issuer.certificate.subject, now, end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
    )
    return _signed_by(builder, issuer)


def _authority(  # noqa: PLR0913 - what stands in it
    key: ec.EllipticCurvePublicKey, name: x509.Name, issuer: x509.Name, now: float, seconds: float, *, below: int
) -> x509.CertificateBuilder:
    return (
        _builder(key, name, issuer, now, seconds)
        .add_extension(x509.BasicConstraints(ca=True, path_length=below), critical=True)
        .add_extension(_key_usage(signs=True), critical=True)
    )


def _builder(
    key: ec.EllipticCurvePublicKey, name: x509.Name, issuer: x509.Name, now: float, seconds: float
) -> x509.CertificateBuilder:
    made = datetime.fromtimestamp(now, UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(made - timedelta(seconds=EARLY_SECONDS))
        .not_valid_after(made + timedelta(seconds=seconds))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _signed_by(builder: x509.CertificateBuilder, authority: Authority) -> x509.Certificate:
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    return builder.add_extension(issuer, critical=False).sign(authority.key, SHA256())


def _key_usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common[:64])])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
