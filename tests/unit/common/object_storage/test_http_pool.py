"""The HTTP client with servers that send every valid and some invalid responses."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.errors import FileChanged, NetworkError, StorageError
from common.object_storage import BadChecksum, NoSuchKey, NoSuchUpload
from common.object_storage.cancellation import Cancellation, Cancelled
from common.object_storage.credentials import Credentials
from common.object_storage.errors import BucketForbidden, StorageBusy
from common.object_storage.http_pool import HttpPool
from common.object_storage.retry_budget import RetryBudget
from common.object_storage.s3_xml import UploadedPart, complete_request, decode_crc32, parse
from common.object_storage.transport import Transport
from tests.support.certificates import make_certificate
from tests.support.scripted_server import OK, ScriptedServer, error

CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.fixture
def pool(server: ScriptedServer) -> Iterator[HttpPool]:
    pool = HttpPool(server.url, read_timeout=2)
    yield pool
    pool.close()


@pytest.fixture
def transport(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Transport]:
    monkeypatch.setattr("common.object_storage.retries.BASE_DELAY", 0.001)
    transport = Transport(server.url, "us-east-1", lambda: Credentials("a", "b"))
    yield transport
    transport.close()


def get(pool: HttpPool, cancellation: Cancellation | None = None) -> bytes:
    with pool.request(
        "GET", "/", {"host": pool.host}, cancellation=cancellation or Cancellation()
    ) as response:
        return response.read_all()


@pytest.mark.parametrize(("response", "body"), [
    (OK, b"ok"),
    (CHUNKED + b"2\r\nab\r\n1;x=y\r\nc\r\n0\r\nt: v\r\n\r\n", b"abc"),
    (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, b"ok"),
    (b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n" * 2 + OK, b"ok"),
    (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end", b"until the end"),
])  # fmt: skip
def test_a_body_is_read_with_any_framing(
    server: ScriptedServer, pool: HttpPool, response: bytes, body: bytes
) -> None:
    server.responses = [response]
    assert get(pool) == body


def test_surplus_bytes_are_never_the_next_response(server: ScriptedServer, pool: HttpPool) -> None:
    server.responses = [OK + b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nforeign", OK, OK]
    assert [get(pool) for _ in range(3)] == [b"ok"] * 3
    assert server.connections == 2


@pytest.mark.parametrize("response", [
    b"SSH-2.0-OpenSSH\r\n",
    b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + OK,
    b"HTTP/1.1 102 Processing\r\n\r\n" * 1_000 + OK,
    b"HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 300 + b"\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\nshort",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nConnection: close\r\n\r\nzz\r\n",
    None,
])  # fmt: skip
def test_an_invalid_response_is_a_network_error(
    server: ScriptedServer, pool: HttpPool, response: bytes | None
) -> None:
    server.responses = [response]
    with pytest.raises(NetworkError):
        get(pool)


def test_a_connection_is_reused_after_its_response_was_read(
    server: ScriptedServer, pool: HttpPool
) -> None:
    server.responses = [OK, OK, OK]
    assert [get(pool) for _ in range(3)] == [b"ok"] * 3
    assert server.connections == 1


def test_a_connection_with_unread_bytes_is_not_reused(
    server: ScriptedServer, pool: HttpPool
) -> None:
    server.responses = [OK, OK]
    with pool.request("GET", "/", {"host": pool.host}, cancellation=Cancellation()) as response:
        response.readinto(memoryview(bytearray(1)))
    server.responses = [OK]
    assert get(pool) == b"ok"
    assert server.connections == 2


def test_a_connection_that_was_closed_while_idle_is_replaced(
    server: ScriptedServer, pool: HttpPool
) -> None:
    server.responses = [OK]
    get(pool)
    time.sleep(0.05)
    server.responses = [OK]
    assert get(pool) == b"ok"
    assert server.connections == 2


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_surplus_bytes_are_never_the_next_response_over_tls(
    tmp_path: Path, version: ssl.TLSVersion
) -> None:
    certificate = make_certificate("localhost", tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    tls.minimum_version = tls.maximum_version = version
    server = ScriptedServer(tls)
    pool = HttpPool(server.url, read_timeout=2, ca_bundle=str(certificate))
    surplus = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nforeign"
    # The server of TLS 1.3 sends session tickets, too, which must not end the connection.
    server.responses = [OK, OK, OK + surplus, OK, OK]
    assert [get(pool) for _ in range(5)] == [b"ok"] * 5
    assert server.connections == 2
    pool.close()
    server.close()


@pytest.mark.parametrize("head", [
    b"HTTP/1.1 200 OK\nContent-Length: 2\n\n",
    b"HTTP/1.1 200\r\nContent-Length:2\r\n\r\n",
    b"HTTP/1.0 200 \r\nCONTENT-LENGTH: \t2 \r\nX: a:b\r\n\r\n",
])  # fmt: skip
def test_lines_of_a_head_may_end_in_lf_alone(
    server: ScriptedServer, pool: HttpPool, head: bytes
) -> None:
    """RFC 9112, 2.2, 4 and 5.1."""
    server.responses = [head + b"ok", OK]
    assert [get(pool) for _ in range(2)] == [b"ok"] * 2


def test_a_cancellation_ends_a_read_that_hangs(server: ScriptedServer, pool: HttpPool) -> None:
    server.responses = [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nX: hang\r\n\r\n"]
    cancellation = Cancellation()
    threading.Timer(0.1, cancellation.set).start()
    started = time.monotonic()
    with pytest.raises(Cancelled):
        get(pool, cancellation)
    assert time.monotonic() - started < 1.5  # The read timeout is 2 s.
    with pytest.raises(Cancelled):
        get(pool, cancellation)


def test_a_server_that_does_not_respond_times_out(server: ScriptedServer) -> None:
    pool = HttpPool(server.url, read_timeout=0.1)
    server.responses = [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nX: hang\r\n\r\n"]
    with pytest.raises(NetworkError):
        get(pool)


@pytest.mark.parametrize(("response", "expected"), [
    (error(404, "NoSuchKey"), NoSuchKey),
    (error(404, "NoSuchUpload"), NoSuchUpload),
    (error(403, "AccessDenied"), BucketForbidden),
    (error(412, "PreconditionFailed"), FileChanged),
    (error(400, "BadDigest"), BadChecksum),
    (error(200, "PreconditionFailed"), FileChanged),
    (error(400, "EntityTooSmall"), StorageError),
])  # fmt: skip
def test_an_error_document_becomes_the_matching_error(
    server: ScriptedServer, transport: Transport, response: bytes, expected: type[Exception]
) -> None:
    server.responses = [response]
    with pytest.raises(expected):
        transport.call("PUT", "bucket", "key", cancellation=Cancellation())
    assert len(server.requests) == 1


@pytest.mark.parametrize("delay", [0.0, 0.3])
def test_a_response_that_comes_before_the_body_is_sent_says_what_is_wrong(delay: float) -> None:
    """RFC 9112, 9.5: the server rejects the request and closes, and the kernel resets the rest."""
    connections = 0

    def serve(listener: socket.socket) -> None:
        nonlocal connections
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            connections += 1
            with client:
                client.recv(1_000)
                client.sendall(error(404, "NoSuchUpload"))
                time.sleep(delay)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        transport = Transport(url, "us-east-1", lambda: Credentials("a", "b"))
        with pytest.raises(NoSuchUpload):
            transport.call(
                "PUT", "bucket", "key", body=bytes(16_777_216),
                cancellation=Cancellation(),
            )  # fmt: skip
        transport.close()
        listener.shutdown(socket.SHUT_RDWR)
    assert connections == 1


@pytest.mark.parametrize("failure", [
    error(503, "SlowDown"), error(500, "InternalError"), error(200, "InternalError"),
    error(429, "TooMany"), error(400, "RequestTimeout"),
])  # fmt: skip
def test_temporary_errors_are_retried(
    server: ScriptedServer, transport: Transport, failure: bytes
) -> None:
    server.responses = [failure, None, OK]
    assert transport.call("GET", "bucket", "key", cancellation=Cancellation())[1] == b"ok"


def test_permanent_failures_end_after_five_attempts(
    server: ScriptedServer, transport: Transport
) -> None:
    server.responses = [error(503, "SlowDown")] * 9
    # Without the limit for the time in which all requests of a job fail.
    cancellation = Cancellation(RetryBudget())
    with pytest.raises(StorageBusy):
        transport.call("GET", "bucket", "key", cancellation=cancellation)
    assert len(server.requests) == 5


def test_keys_and_queries_are_encoded_and_signed(
    server: ScriptedServer, transport: Transport
) -> None:
    server.responses = [OK]
    transport.call(
        "GET", "bucket", "a b/ü+&?", query={"uploadId": "x/y=z"}, cancellation=Cancellation()
    )
    request = server.requests[0].decode()
    assert request.startswith("GET /bucket/a%20b/%C3%BC%2B%26%3F?uploadId=x%2Fy%3Dz HTTP/1.1\r\n")
    assert "authorization: AWS4-HMAC-SHA256 Credential=a/" in request


@pytest.mark.parametrize(("text", "value"), [
    ("AAAAAA==", 0), ("/////w==", 0xFFFFFFFF), ("AAAAAA==-7", None), ("", None), (None, None),
    ("no base64", None), ("AAAA", None),
])  # fmt: skip
def test_only_the_checksum_of_a_whole_object_is_decoded(
    text: str | None, value: int | None
) -> None:
    assert decode_crc32(text) == value


def test_parts_are_listed_with_their_checksums() -> None:
    body = complete_request(
        [
            UploadedPart(number=1, etag='"a&b"', crc32=1),
            UploadedPart(number=2, etag='"c"', crc32=None),
        ]
    )
    parts = parse(body).findall("Part")
    assert [part.findtext("ETag") for part in parts] == ['"a&b"', '"c"']
    assert [part.findtext("ChecksumCRC32") for part in parts] == ["AAAAAQ==", None]
