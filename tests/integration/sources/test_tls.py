"""HTTPS origins, RFC 9110, 4.3.4: the certificate is verified, in every spelling of the host."""

from __future__ import annotations

import random
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.sources.conftest import Download
from tests.support.certificates import make_certificate
from tests.support.raw_origin import RawOrigin, Request, Step, partial, response

DATA = random.Random(9).randbytes(30_000)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    return make_certificate("localhost", tmp_path)


def fetch(certificate: Path, host: str, serve: object = None) -> Download:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    origin = RawOrigin(serve or (lambda request: partial(request, DATA)), tls=server)
    return Download(origin, host=f"{host}:{origin.port}", scheme="https")


@pytest.mark.parametrize("host", ["localhost", "LocalHost", "localhost."])
def test_trusted_origin_is_read(
    certificate: Path, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    files = fetch(certificate, host)
    assert files.archive(1, 2) == {"1": DATA, "2": DATA}
    # Session tickets, which arrive unrequested, do not keep connections from being reused.
    assert files.origin.connections < len(files.origin.requests)
    files.source.close()
    files.origin.close()


def test_untrusted_certificate_is_a_network_error(certificate: Path) -> None:
    files = fetch(certificate, "localhost")
    assert files.error() == "NETWORK_ERROR"
    assert files.origin.requests == []
    files.origin.close()


def test_certificate_of_another_host_is_a_network_error(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    files = fetch(certificate, "127.0.0.1")
    assert files.error() == "NETWORK_ERROR"
    assert files.origin.requests == []
    files.origin.close()


def test_surplus_bytes_are_noticed_inside_tls(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RFC 9112, 6.3."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))

    def serve(request: Request) -> Iterator[Step]:
        file_id = request.target.rpartition("/")[2]
        data = file_id.encode() * 9_000
        yield partial(request, data, etag=f'"{file_id}"') + response(b"FOREIGN" * 1_000)

    files = fetch(certificate, "localhost", serve)
    members = files.archive(*range(1, 9))
    assert members == {str(i): str(i).encode() * 9_000 for i in range(1, 9)}
    files.source.close()
    files.origin.close()
