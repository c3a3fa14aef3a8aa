"""Tests for TLS in the production nginx configuration."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from stack.nginx import Nginx, start_nginx
from stack.process import accepts_connections, free_port, wait_until
from tests.support.nginx_backend import Backend
from tests.support.problem_documents import ERRORS_OF_NGINX, check_problem, exchange


@dataclass(frozen=True, kw_only=True)
class Tls:
    plain: str
    secure: str
    plain_port: int
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
def start(
    tmp_path_factory: pytest.TempPathFactory, backend: Backend
) -> Iterator[Callable[..., Tls]]:
    directory = tmp_path_factory.mktemp("tls")
    certificate, key = directory / "certificate.pem", directory / "key.pem"
    _write_certificate(certificate, key)
    challenges = directory / "web/.well-known/acme-challenge"
    challenges.mkdir(parents=True)
    (challenges / "token").write_text("token.thumbprint")
    running: list[Nginx] = []

    def _start(upstream: str | None = None, **settings: str) -> Tls:
        port = free_port()
        nginx = start_nginx(
            directory / f"nginx{len(running)}",
            upstream=upstream or backend.address,
            settings={
                "HTTPS_PORT": f"127.0.0.1:{port}",
                "TLS_CERTIFICATE": str(certificate),
                "TLS_CERTIFICATE_KEY": str(key),
                "WEB_ROOT": str(directory / "web"),
                **settings,
            },
        )
        running.append(nginx)
        wait_until(lambda: accepts_connections(port), "nginx's TLS port")
        return Tls(
            plain=nginx.url,
            secure=f"https://127.0.0.1:{port}",
            plain_port=nginx.port,
            port=port,
            context=ssl.create_default_context(cafile=str(certificate)),
        )

    yield _start
    for nginx in running:
        nginx.process.stop(5)


@pytest.fixture(scope="module")
def tls(start: Callable[..., Tls]) -> Tls:
    return start()


def test_plain_http_is_redirected_to_https_with_the_same_method(tls: Tls) -> None:
    response = httpx.post(f"{tls.plain}/v1/download/initiate?a=b")
    assert response.status_code == 308
    assert response.headers["Location"] == "https://127.0.0.1/v1/download/initiate?a=b"


def test_the_redirect_to_https_has_the_common_headers(start: Callable[..., Tls]) -> None:
    headers = {"X-Request-ID": "trace-me", "Origin": "https://a.example"}
    url = start(CORS_ORIGINS="https://a.example").plain
    response = httpx.get(f"{url}/v1/download/jobs", headers=headers)
    assert response.status_code == 308
    assert response.headers["X-Request-ID"] == "trace-me"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Access-Control-Allow-Origin"] == "https://a.example"


def test_liveness_probe_works_without_tls(tls: Tls) -> None:
    assert httpx.get(f"{tls.plain}/health/live").status_code == 200


def test_liveness_probe_without_tls_reports_an_unreachable_api(start: Callable[..., Tls]) -> None:
    response = httpx.get(f"{start(upstream=f'127.0.0.1:{free_port()}').plain}/health/live")
    assert (response.status_code, response.json()["code"]) == (503, "BACKEND_UNAVAILABLE")
    assert response.headers["Retry-After"] == "2"


def test_liveness_probe_without_tls_is_limited(start: Callable[..., Tls]) -> None:
    url = f"{start(REQUEST_RATE='1r/m', REQUEST_BURST='1').plain}/health/live"
    responses = [httpx.get(url) for _ in range(3)]
    assert [response.status_code for response in responses] == [200, 200, 429]
    assert responses[-1].json()["code"] == "RATE_LIMIT_EXCEEDED"


def test_challenges_for_a_certificate_are_served_without_tls(tls: Tls) -> None:
    response = httpx.get(f"{tls.plain}/.well-known/acme-challenge/token")
    assert (response.status_code, response.text) == (200, "token.thumbprint")


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        *ERRORS_OF_NGINX,
        (b"GET /x HTTP/1.0\r\n\r\n", 400, "MALFORMED_REQUEST"),
        (b"GET /.well-known/acme-challenge/x HTTP/1.0\r\n\r\n", 404, "NOT_FOUND"),
        (b"GET /.well-known/acme-challenge/ HTTP/1.0\r\n\r\n", 404, "NOT_FOUND"),
        (b"POST /.well-known/acme-challenge/token HTTP/1.0\r\n\r\n", 405, "METHOD_NOT_ALLOWED"),
    ],
)
def test_errors_on_the_plain_port_are_problem_documents(
    tls: Tls, request_: bytes, status: int, code: str
) -> None:
    head, body = exchange(tls.plain_port, request_)
    check_problem(head, body, status, code)


def test_plain_http_on_the_tls_port_is_a_malformed_request(tls: Tls) -> None:
    head, body = exchange(tls.port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    check_problem(head, body, 400, "MALFORMED_REQUEST")


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
