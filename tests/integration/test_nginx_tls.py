"""Tests for TLS in the production nginx configuration."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from stack.nginx import start_nginx
from stack.process import accepts_connections, free_port, wait_until
from tests.support.nginx_backend import Backend


@dataclass(frozen=True, kw_only=True)
class Tls:
    plain: str
    secure: str
    port: int
    context: ssl.SSLContext


def _write_certificate(certificate: Path, key: Path) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(private, hashes.SHA256())
    )
    certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    key.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


@pytest.fixture(scope="module")
def backend() -> Iterator[Backend]:
    server = Backend()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory, backend: Backend) -> Iterator[Tls]:
    directory = tmp_path_factory.mktemp("tls")
    certificate, key = directory / "certificate.pem", directory / "key.pem"
    _write_certificate(certificate, key)
    port = free_port()
    nginx = start_nginx(
        directory / "nginx",
        upstream=backend.address,
        settings={
            "HTTPS_PORT": f"127.0.0.1:{port}",
            "TLS_CERTIFICATE": str(certificate),
            "TLS_CERTIFICATE_KEY": str(key),
        },
    )
    wait_until(lambda: accepts_connections(port), "nginx's TLS port")
    yield Tls(
        plain=nginx.url,
        secure=f"https://127.0.0.1:{port}",
        port=port,
        context=ssl.create_default_context(cafile=str(certificate)),
    )
    nginx.process.stop(5)


def test_plain_http_is_redirected_to_https_with_the_same_method(tls: Tls) -> None:
    response = httpx.post(f"{tls.plain}/v1/download/initiate?a=b")
    assert response.status_code == 308
    assert response.headers["Location"] == "https://127.0.0.1/v1/download/initiate?a=b"


def test_liveness_probe_works_without_tls(tls: Tls) -> None:
    assert httpx.get(f"{tls.plain}/health/live").status_code == 200


def test_tls_sets_the_forwarded_scheme_and_hsts(tls: Tls) -> None:
    response = httpx.get(f"{tls.secure}/v1/download/jobs", verify=tls.context)
    assert response.json()["headers"]["x-forwarded-proto"] == "https"
    assert response.headers.get_list("Strict-Transport-Security") == [
        "max-age=31536000; includeSubDomains"
    ]


def test_stream_events_are_forwarded_without_buffering_over_tls(tls: Tls, backend: Backend) -> None:
    url = f"{tls.secure}/v1/download/abc/stream"
    with httpx.stream("GET", url, verify=tls.context, timeout=5) as response:
        chunks = response.iter_raw()
        assert next(chunks) == b"event: connected\ndata: {}\n\n"
        backend.send_next_event.set()
        assert b"".join(chunks) == b"event: completed\ndata: {}\n\n"


@pytest.mark.parametrize("protocol", ["h2", "http/1.1"])
def test_alpn_negotiates_http_2_and_http_1_1(tls: Tls, protocol: str) -> None:
    tls.context.set_alpn_protocols([protocol])
    with (
        socket.create_connection(("127.0.0.1", tls.port), timeout=5) as plain,
        tls.context.wrap_socket(plain, server_hostname="127.0.0.1") as secure,
    ):
        assert secure.selected_alpn_protocol() == protocol


def test_tls_1_1_is_rejected(tls: Tls) -> None:
    tls_1_1 = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls_1_1.check_hostname = False
    tls_1_1.verify_mode = ssl.CERT_NONE
    tls_1_1.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        tls_1_1.minimum_version = tls_1_1.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        socket.create_connection(("127.0.0.1", tls.port), timeout=5) as plain,
        pytest.raises(ssl.SSLError, match="protocol version"),
    ):
        tls_1_1.wrap_socket(plain)
