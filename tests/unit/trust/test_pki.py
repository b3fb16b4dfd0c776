"""Certificates: who they name, who may sign them, for how long; and a real handshake with them, over gRPC."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from corpgrid.errors import ExpiredError, MalformedDataError, UntrustedKeyError
from corpgrid.host.clock import SystemClock
from corpgrid.trust.certificates import (
    REQUEST_BYTES,
    certificate_to_pem,
    certificates_from_pem,
    check_certificate,
    identity_of,
    key_from_pem,
    key_to_pem,
    new_key,
    pin_of,
    request_certificate,
    requested_key,
)
from corpgrid.trust.identity import Identity, Role
from corpgrid.trust.pki import EARLY_SECONDS, LEAF_SECONDS, Authority, issue, new_issuer, new_root

NOW = 1_800_000_000.0
ROOT = new_root("g1", now=NOW)
ISSUER = new_issuer(ROOT, "g1", now=NOW)
CHAIN = [ISSUER.certificate, ROOT.certificate]
DEVICE = Identity("g1", Role.DEVICE, "dev_abc")
SCHEDULER = Identity("g1", Role.SCHEDULER, "first")


def leaf(identity: Identity = DEVICE, *, issuer: Authority = ISSUER, **options: float) -> x509.Certificate:
    return issue(issuer, new_key().public_key(), identity, **{"now": NOW, **options})


def test_a_certificate_names_its_holder() -> None:
    assert check_certificate(leaf(), CHAIN, now=NOW) == DEVICE
    assert leaf().not_valid_after_utc.timestamp() == NOW + LEAF_SECONDS


@pytest.mark.parametrize("late", [-EARLY_SECONDS - 1, LEAF_SECONDS + 1])
def test_a_certificate_is_good_for_its_time_alone(late: float) -> None:
    with pytest.raises(ExpiredError, match="dev_abc"):
        check_certificate(leaf(), CHAIN, now=NOW + late)
    inside = late + 1 if late < 0 else late - 1
    assert check_certificate(leaf(), CHAIN, now=NOW + inside) == DEVICE


def test_nothing_outlives_who_signed_it() -> None:
    old = new_issuer(ROOT, "g1", now=NOW, seconds=60)
    assert leaf(issuer=old).not_valid_after_utc == old.certificate.not_valid_after_utc
    assert new_issuer(old, "g1", now=NOW).certificate.not_valid_after_utc == old.certificate.not_valid_after_utc


def test_a_certificate_of_another_grid_is_not_believed() -> None:
    root = new_root("g1", now=NOW)
    other = new_issuer(root, "g1", now=NOW)
    with pytest.raises(UntrustedKeyError, match="not signed by"):
        check_certificate(leaf(issuer=other), CHAIN, now=NOW)
    with pytest.raises(UntrustedKeyError, match="not signed by"):
        check_certificate(leaf(issuer=other), [other.certificate, ROOT.certificate], now=NOW)


def test_who_holds_a_certificate_cannot_sign_others() -> None:
    key = new_key()
    device = Authority(issue(ISSUER, key.public_key(), DEVICE, now=NOW), key)
    forged = leaf(SCHEDULER, issuer=device)
    with pytest.raises(UntrustedKeyError, match="may not sign"):
        check_certificate(forged, [device.certificate, *CHAIN], now=NOW)


def test_an_issuer_makes_no_issuers() -> None:
    below = new_issuer(ISSUER, "g1", now=NOW)
    with pytest.raises(UntrustedKeyError, match="may not sign"):
        check_certificate(leaf(issuer=below), [below.certificate, *CHAIN], now=NOW)


def test_a_request_gives_its_key_and_nothing_else() -> None:
    key = new_key()
    assert requested_key(request_certificate(key)) == key.public_key()
    boasting = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    boasting = boasting.add_extension(
        x509.SubjectAlternativeName([x509.UniformResourceIdentifier(SCHEDULER.uri)]), critical=False
    )
    asked = requested_key(boasting.sign(key, SHA256()).public_bytes(Encoding.PEM))
    assert identity_of(issue(ISSUER, asked, DEVICE, now=NOW)) == DEVICE


def test_a_request_by_who_does_not_hold_the_key_is_refused() -> None:
    content = bytearray(x509.load_pem_x509_csr(request_certificate(new_key())).public_bytes(Encoding.DER))
    content[-1] ^= 1
    try:
        forged = x509.load_der_x509_csr(bytes(content)).public_bytes(Encoding.PEM)
    except ValueError:
        pytest.fail("the signature's last byte is not part of its form")
    with pytest.raises(UntrustedKeyError, match="not signed by the key"):
        requested_key(forged)


def _ed25519_request() -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return builder.sign(Ed25519PrivateKey.generate(), None).public_bytes(Encoding.PEM)


def _p384_request() -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return builder.sign(ec.generate_private_key(ec.SECP384R1()), SHA256()).public_bytes(Encoding.PEM)


@pytest.mark.parametrize(
    "request_pem", [b"", b"nothing", b"x" * (REQUEST_BYTES + 1), _ed25519_request(), _p384_request()]
)
def test_what_is_no_request_of_ours_is_refused(request_pem: bytes) -> None:
    with pytest.raises(MalformedDataError):
        requested_key(request_pem)


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "corpgrid://g1/device",
        "corpgrid://g1/device/",
        "corpgrid://g1/device/a/b",
        "corpgrid://g1/operator/a",
        "corpgrid:///device/a",
        "https://g1/device/a",
        "corpgrid://g1/device/a b",
        "corpgrid://g1/device/" + "a" * 129,
    ],
)
def test_a_uri_that_names_nobody_is_refused(uri: str) -> None:
    with pytest.raises(MalformedDataError, match="names nobody"):
        Identity.parse(uri)


def test_a_certificate_with_two_names_or_none_names_nobody() -> None:
    with pytest.raises(MalformedDataError, match="0 URIs"):
        identity_of(ROOT.certificate)
    names = [x509.UniformResourceIdentifier(who.uri) for who in (DEVICE, SCHEDULER)]
    certificate = leaf()
    twice = (
        x509.CertificateBuilder()
        .subject_name(certificate.subject)
        .issuer_name(certificate.issuer)
        .public_key(certificate.public_key())
        .serial_number(1)
        .not_valid_before(certificate.not_valid_before_utc)
        .not_valid_after(certificate.not_valid_after_utc)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(ISSUER.key, SHA256())
    )
    with pytest.raises(MalformedDataError, match="2 URIs"):
        check_certificate(twice, CHAIN, now=NOW)


def test_keys_and_certificates_travel_as_text() -> None:
    key = new_key()
    assert key_from_pem(key_to_pem(key)).public_key() == key.public_key()
    assert certificates_from_pem(certificate_to_pem(leaf(), *CHAIN))[1:] == CHAIN
    other = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for pem in (b"", b"nothing", other):
        with pytest.raises(MalformedDataError):
            key_from_pem(pem)
    with pytest.raises(MalformedDataError):
        certificates_from_pem(b"nothing")


def test_a_pin_is_of_the_key() -> None:
    assert len(pin_of(ROOT.certificate)) == 32
    assert pin_of(ROOT.certificate) != pin_of(new_root("g1", now=NOW).certificate)


# -- on the wire: the profile is one that gRPC's TLS takes, and nothing less is


async def _ping(server_chain: bytes, server_key: bytes, client: grpc.ChannelCredentials, roots: bytes) -> bytes:
    """What a server that asks for certificates says of its caller."""

    async def who(_request: bytes, context: grpc.aio.ServicerContext) -> bytes:
        return certificate_name(context)

    def certificate_name(context: grpc.aio.ServicerContext) -> bytes:
        (pem,) = context.auth_context()["x509_pem_cert"]
        return identity_of(certificates_from_pem(pem)[0]).uri.encode()

    server = grpc.aio.server()
    handlers = {"Who": grpc.unary_unary_rpc_method_handler(who)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test", handlers),))
    credentials = grpc.ssl_server_credentials(
        [(server_key, server_chain)], root_certificates=roots, require_client_auth=True
    )
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    try:
        async with grpc.aio.secure_channel(f"127.0.0.1:{port}", client) as channel:
            reply: bytes = await channel.unary_unary("/test/Who")(b"", timeout=5)
            return reply
    finally:
        await server.stop(None)


def _holder(issuer: Authority, identity: Identity, now: float, hosts: tuple[str, ...] = ()) -> tuple[bytes, bytes]:
    key = new_key()
    certificate = issue(issuer, key.public_key(), identity, now=now, hosts=hosts)
    return certificate_to_pem(certificate, issuer.certificate), key_to_pem(key)


def test_both_sides_of_a_connection_show_who_they_are() -> None:
    now = SystemClock().now()  # the handshake goes by it
    root = new_root("g1", now=now)
    issuer = new_issuer(root, "g1", now=now)
    roots = certificate_to_pem(root.certificate)
    chain, key = _holder(issuer, SCHEDULER, now, ("127.0.0.1", "scheduler.example"))
    mine, my_key = _holder(issuer, DEVICE, now)
    client = grpc.ssl_channel_credentials(roots, my_key, mine)
    assert asyncio.run(_ping(chain, key, client, roots)).decode() == DEVICE.uri

    stranger = new_issuer(new_root("g1", now=now), "g1", now=now)
    forged, forged_key = _holder(stranger, DEVICE, now)
    served, served_key = _holder(issuer, DEVICE, now)  # a device that would pass for a scheduler
    for bad in (
        (chain, key, grpc.ssl_channel_credentials(roots)),
        (chain, key, grpc.ssl_channel_credentials(roots, forged_key, forged)),
        (served, served_key, client),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            asyncio.run(_ping(*bad, roots))
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
