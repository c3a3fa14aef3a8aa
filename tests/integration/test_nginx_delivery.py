"""Tests for the delivery of archives by the production nginx: only what the API has signed, only
from the configured storage, and nothing of the storage but the archive."""

from __future__ import annotations

import json
import os
import re
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from stack.nginx import ENTRYPOINT, Nginx, start_nginx
from stack.process import wait_until
from tests.support.certificates import make_certificate
from tests.support.recording_server import Received, RecordingServer, Reply

#: As the API signs it: percent-encoded, with a key that any decoding on the way would change.
TARGET = "archives/a%20b%2Fc%3F%25.zip?X-Amz-Signature=5ecret&response-content-type=a%2Fb%3B%22"
RESULT = "/v1/download/00000000-0000-4000-8000-000000000000"
LINK = "/d/0token"
ARCHIVE = Reply(
    headers={
        "Content-Type": "application/zip",
        "Content-Disposition": 'attachment; filename="a.zip"',
        "ETag": '"abc-2"',
        "Accept-Ranges": "bytes",
        "Last-Modified": "Sat, 28 Nov 2026 00:00:00 GMT",
    },
    body=b"PK" * 5_000,
)


@pytest.fixture
def api() -> Iterator[RecordingServer]:
    with RecordingServer() as server:
        server.reply = Reply(
            headers={"X-Accel-Redirect": f"/.storage?{TARGET}", "Cache-Control": "no-store"}
        )
        yield server


@pytest.fixture
def storage() -> Iterator[RecordingServer]:
    with RecordingServer() as server:
        server.reply = ARCHIVE
        yield server


@pytest.fixture
def start(
    tmp_path: Path, api: RecordingServer, storage: RecordingServer
) -> Iterator[Callable[..., Nginx]]:
    running: list[Nginx] = []

    def _start(**settings: str) -> Nginx:
        nginx = start_nginx(
            tmp_path / f"nginx{len(running)}",
            upstream=api.address,
            settings={"STORAGE_URL": f"http://{storage.address}", **settings},
            output=tmp_path / "nginx.log",
        )
        running.append(nginx)
        return nginx

    yield _start
    for nginx in running:
        nginx.process.stop(5)


@pytest.fixture
def nginx(start: Callable[..., Nginx]) -> Nginx:
    return start()


@pytest.fixture
def http(nginx: Nginx) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=nginx.url, timeout=5) as client:
        yield client


def raw(nginx: Nginx, request: str) -> tuple[bytes, bytes]:
    """Return head and body of the response to a request that no HTTP client would send."""
    with socket.create_connection(("127.0.0.1", nginx.port), timeout=5) as client:
        client.sendall(request.encode("latin-1"))
        head, _, body = client.makefile("rb").read().partition(b"\r\n\r\n")
    return head, body


def log_lines(nginx: Nginx, count: int) -> list[dict[str, object]]:
    wait_until(lambda: len(nginx.access_log.read_text().splitlines()) >= count, "the log", 5)
    return [json.loads(line) for line in nginx.access_log.read_text().splitlines()]


@pytest.mark.parametrize("path", [RESULT, f"{RESULT}?ticket=t", LINK])
def test_the_archive_is_fetched_with_exactly_what_the_api_signed(
    http: httpx.Client, storage: RecordingServer, path: str
) -> None:
    response = http.get(path)
    assert (response.status_code, response.content) == (200, ARCHIVE.body)
    (received,) = storage.received
    assert (received.method, received.target) == ("GET", f"/{TARGET}")
    assert received.headers["host"] == storage.address
    for name, value in ARCHIVE.headers.items():
        assert response.headers.get_list(name) == [value]


def test_the_api_learns_which_storage_archives_come_from(
    http: httpx.Client, api: RecordingServer, storage: RecordingServer
) -> None:
    http.get(RESULT, headers={"X-Storage-Host": "evil.test"})
    assert api.received[0].headers["x-storage-host"] == storage.address


def test_without_a_storage_the_api_learns_that_too(
    start: Callable[..., Nginx], api: RecordingServer
) -> None:
    api.reply = Reply(501)
    url = start(STORAGE_URL="").url
    assert httpx.get(url + RESULT, headers={"X-Storage-Host": "evil.test"}).status_code == 501
    assert "x-storage-host" not in api.received[0].headers


def test_head_is_head_for_the_storage_too(http: httpx.Client, storage: RecordingServer) -> None:
    response = http.head(RESULT)
    assert storage.received[0].method == "HEAD"
    assert response.headers["Content-Length"] == str(len(ARCHIVE.body))
    assert response.headers["ETag"] == ARCHIVE.headers["ETag"]


def test_ranges_and_their_conditions_are_those_of_the_client(
    http: httpx.Client, storage: RecordingServer
) -> None:
    storage.reply = Reply(206, {**ARCHIVE.headers, "Content-Range": "bytes 5-9/10000"}, b"KPKPK")
    conditions = {
        "Range": "bytes=5-9",
        "If-None-Match": '"x"',
        "If-Modified-Since": "Sat, 28 Nov 2026 00:00:00 GMT",
    }
    response = http.get(LINK, headers=conditions)
    assert (response.status_code, response.content) == (206, b"KPKPK")
    assert response.headers["Content-Range"] == "bytes 5-9/10000"
    received = storage.received[0].headers
    assert {name: received[name.lower()] for name in conditions} == conditions


def part_if_it_matches(received: Received) -> Reply:
    """Respond as a storage that implements If-Match, and ignores If-Range."""
    if received.headers.get("if-match", '"abc-2"') != '"abc-2"':
        return Reply(412, {"Content-Type": "application/xml"}, b"<Error/>")
    if "range" in received.headers:
        return Reply(206, {**ARCHIVE.headers, "Content-Range": "bytes 5-9/10000"}, b"KPKPK")
    return ARCHIVE


@pytest.mark.parametrize(
    ("validator", "status"),
    [
        ('"abc-2"', 206),
        ('"another"', 200),
        ('W/"abc-2"', 200),
        ("Sat, 28 Nov 2026 00:00:00 GMT", 200),
        ('"abc-2", "another"', 200),
        ("nonsense", 200),
    ],
)
def test_a_part_is_sent_only_of_the_archive_that_the_client_has(
    http: httpx.Client, storage: RecordingServer, validator: str, status: int
) -> None:
    """RFC 9110, 13.1.5: otherwise the whole one, of which nothing is known."""
    storage.reply = part_if_it_matches
    response = http.get(LINK, headers={"Range": "bytes=5-9", "If-Range": validator})
    assert response.status_code == status
    assert response.content == (b"KPKPK" if status == 206 else ARCHIVE.body)
    assert all(received.target == f"/{TARGET}" for received in storage.received)
    assert "if-range" not in storage.received[-1].headers


@pytest.mark.parametrize(
    ("conditions", "status"),
    [
        ({"If-Match": '"abc-2"'}, 206),
        ({"If-Match": '"another"'}, 412),
        ({"If-Match": '"another"', "If-Range": '"abc-2"'}, 412),
        # The storage can check one of them, so the other one is met by sending everything.
        ({"If-Match": '"abc-2"', "If-Range": '"another"'}, 200),
    ],
)
def test_a_part_is_not_sent_of_an_archive_that_the_client_excludes(
    http: httpx.Client, storage: RecordingServer, conditions: dict[str, str], status: int
) -> None:
    """RFC 9110, 13.1.1: otherwise a continued download joins two archives."""
    storage.reply = part_if_it_matches
    response = http.get(LINK, headers={"Range": "bytes=5-9", **conditions})
    assert response.status_code == status
    if status == 412:
        assert response.json()["code"] == "PRECONDITION_FAILED"
        assert response.headers["Content-Type"] == "application/problem+json"
        assert len(storage.received) == 1


def test_if_unmodified_since_is_for_the_storage(
    http: httpx.Client, storage: RecordingServer
) -> None:
    """RFC 9110, 13.1.4."""
    storage.reply = Reply(412)
    date = "Sat, 28 Nov 2026 00:00:00 GMT"
    assert http.get(LINK, headers={"If-Unmodified-Since": date}).status_code == 412
    assert [each.headers["if-unmodified-since"] for each in storage.received] == [date]


def test_nobody_requests_the_internal_locations(http: httpx.Client) -> None:
    for path in ("/.storage/x", "/.storage/whole", "/.storage/precondition_failed"):
        assert http.get(path).status_code == 404


def test_if_range_without_a_range_is_ignored(http: httpx.Client, storage: RecordingServer) -> None:
    """RFC 9110, 13.1.5."""
    storage.reply = part_if_it_matches
    assert http.get(LINK, headers={"If-Range": '"another"'}).status_code == 200
    assert [set(received.headers) for received in storage.received] == [{"host"}]


def test_an_error_after_a_changed_archive_is_a_problem(
    http: httpx.Client, storage: RecordingServer
) -> None:
    storage.reply = lambda received: Reply(412 if "range" in received.headers else 500)
    response = http.get(LINK, headers={"Range": "bytes=5-9", "If-Range": '"abc-2"'})
    assert (response.status_code, response.json()["code"]) == (503, "BACKEND_UNAVAILABLE")


def test_a_storage_that_always_finds_the_archive_changed_does_not_loop(
    http: httpx.Client, storage: RecordingServer
) -> None:
    storage.reply = Reply(412)
    response = http.get(LINK, headers={"Range": "bytes=5-9", "If-Range": '"abc-2"'})
    assert response.status_code >= 500
    assert len(storage.received) < 20


def test_an_archive_that_has_not_changed_is_304(
    http: httpx.Client, storage: RecordingServer
) -> None:
    storage.reply = Reply(304, {"ETag": '"abc-2"', "Content-Length": "0"})
    response = http.get(RESULT, headers={"If-None-Match": '"abc-2"'})
    assert (response.status_code, response.headers["ETag"]) == (304, '"abc-2"')


def test_the_storage_receives_nothing_else_of_the_client(
    http: httpx.Client, storage: RecordingServer
) -> None:
    headers = {
        "Authorization": "Bearer token",
        "Cookie": "session=1",
        "X-User-Id": "alice",
        "X-Amz-Security-Token": "forged",
        "X-Amz-Server-Side-Encryption-Customer-Key": "forged",
        "X-Forwarded-Host": "evil.test",
        "Accept-Encoding": "gzip",
        "Expect": "",
    }
    http.get(RESULT, headers=headers)
    assert set(storage.received[0].headers) == {"host"}


def test_the_client_receives_nothing_else_of_the_storage(
    http: httpx.Client, storage: RecordingServer
) -> None:
    private = {
        "Server": "SomeStorage",
        "Set-Cookie": "a=b",
        "X-Amz-Request-Id": "1",
        "x-amz-id-2": "2",
        "x-amz-meta-plan": "3",
        "x-amz-server-side-encryption-aws-kms-key-id": "arn:aws:kms:eu-west-1:1:key/2",
        "X-Minio-Deployment-Id": "4",
        "X-Accel-Redirect": "/.storage?secrets/everything",
        "X-Accel-Limit-Rate": "1",
        "X-Accel-Expires": "3600",
        "X-Accel-Charset": "utf-7",
        "X-Accel-Buffering": "no",
        "Location": "http://storage.internal/",
        "Access-Control-Allow-Origin": "https://evil.test",
        "Cache-Control": "public, max-age=9",
        "Link": "<http://storage.internal/>",
        "Via": "1.1 storage",
    }
    storage.reply = Reply(headers={**ARCHIVE.headers, **private}, body=ARCHIVE.body)
    response = http.get(RESULT)
    assert response.content == ARCHIVE.body
    assert len(storage.received) == 1
    assert {name.lower() for name in response.headers} == {
        *(name.lower() for name in ARCHIVE.headers),
        *("content-length", "date", "server", "connection", "cache-control", "x-request-id"),
        *("x-content-type-options", "referrer-policy", "content-security-policy"),
    }
    assert response.headers["Server"] == "nginx"
    assert response.headers.get_list("Cache-Control") == ["no-store"]
    assert response.headers["Content-Type"] == "application/zip"


@pytest.mark.parametrize(
    "target",
    [
        f"/.storage?{TARGET}",
        "/.storage",
        "/%2estorage?archives/a.zip",
        "/%2Estorage/",
        "//.storage?a",
        "/x/../.storage?a",
        "/v1/download/..%2f..%2f.storage?a",
        "/.storage/?a",
        "/.storage/whole?a",
        "/.storage@evil.test/",
        "/.storage%3Fa",
        "/.storage%00?a",
        "http://127.0.0.1/.storage?a",
    ],
)
def test_clients_cannot_reach_the_internal_location(
    nginx: Nginx, api: RecordingServer, storage: RecordingServer, target: str
) -> None:
    api.reply = Reply(404)
    head, _ = raw(nginx, f"GET {target} HTTP/1.0\r\nHost: longhaul.test\r\n\r\n")
    assert head.split()[1] in (b"404", b"400")
    assert storage.received == []


@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("/v1/download/jobs/x/files", "GET"),
        ("/v1/download/status/abc", "GET"),
        ("/v1/download/subscribe/abc", "GET"),
        ("/v1/download/initiate", "POST"),
        ("/v1/admin/workers", "GET"),
        ("/metrics", "GET"),
        ("/docs/problems", "GET"),
    ],
)
def test_other_responses_of_the_api_cannot_send_nginx_anywhere(
    start: Callable[..., Nginx], storage: RecordingServer, path: str, method: str
) -> None:
    response = httpx.request(method, start(OPERATOR_NETWORK="127.0.0.0/8").url + path, timeout=5)
    assert storage.received == []
    assert "X-Accel-Redirect" not in response.headers


@pytest.mark.parametrize(
    "target",
    [
        "@evil.test/",
        ".evil.test/",
        ":1/",
        "/evil.test/",
        "//evil.test/",
        "http://evil.test/",
        "../../x",
        "?a=b",
        "#fragment",
        "a%0d%0aX-Amz-Copy-Source:%20b",
        "a%00b",
    ],
)
def test_no_target_leads_to_another_host_or_adds_a_header(
    http: httpx.Client, api: RecordingServer, storage: RecordingServer, target: str
) -> None:
    api.reply = Reply(headers={"X-Accel-Redirect": f"/.storage?{target}"})
    assert http.get(RESULT).status_code == 200
    (received,) = storage.received
    assert received.target.lstrip("/") == target.lstrip("/")
    assert set(received.headers) == {"host"}
    assert received.headers["host"] == storage.address


@pytest.mark.parametrize("host", ["evil.test", "evil.test:99", "[::1]", "storage"])
def test_the_host_that_the_client_names_changes_nothing(
    nginx: Nginx, storage: RecordingServer, host: str
) -> None:
    head, body = raw(nginx, f"GET {RESULT} HTTP/1.0\r\nHost: {host}\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert body == ARCHIVE.body
    assert storage.received[0].headers["host"] == storage.address


@pytest.mark.parametrize(
    ("status", "seen", "code"),
    [
        (301, 503, "BACKEND_UNAVAILABLE"),
        (307, 503, "BACKEND_UNAVAILABLE"),
        (400, 503, "BACKEND_UNAVAILABLE"),
        (403, 503, "BACKEND_UNAVAILABLE"),
        (404, 410, "JOB_EXPIRED"),
        (416, 416, "RANGE_NOT_SATISFIABLE"),
        (429, 503, "BACKEND_UNAVAILABLE"),
        (500, 503, "BACKEND_UNAVAILABLE"),
        (503, 503, "BACKEND_UNAVAILABLE"),
    ],
)
def test_errors_of_the_storage_are_problems_without_its_words(
    http: httpx.Client, storage: RecordingServer, status: int, seen: int, code: str
) -> None:
    storage.reply = Reply(
        status,
        {
            "Content-Type": "application/xml",
            "Content-Range": "bytes */10000",
            "Content-Disposition": "attachment",
            "Location": "http://storage.internal/",
            "x-amz-request-id": "1",
        },
        b"<Error><Code>SignatureDoesNotMatch</Code><HostId>internal</HostId></Error>",
    )
    response = http.get(RESULT)
    assert (response.status_code, response.json()["code"]) == (seen, code)
    assert response.json()["status"] == seen
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.headers.get_list("Cache-Control") == ["no-store"]
    assert "internal" not in response.text
    assert not {"location", "x-amz-request-id", "content-disposition"} & set(response.headers)
    # curl -C - on a complete file ends successfully only with this header (RFC 9110, 15.5.17).
    assert response.headers.get("Content-Range") == ("bytes */10000" if seen == 416 else None)


def test_a_storage_that_is_down_is_503(http: httpx.Client, storage: RecordingServer) -> None:
    storage.shutdown()
    storage.server_close()
    response = http.get(RESULT)
    assert (response.status_code, response.json()["code"]) == (503, "BACKEND_UNAVAILABLE")
    assert response.headers["Retry-After"] == "2"


def test_archives_of_any_type_are_sent_as_they_are(
    http: httpx.Client, storage: RecordingServer
) -> None:
    """Compression would change the bytes behind the storage's ETag and ranges."""
    headers = {**ARCHIVE.headers, "Content-Type": "application/json"}
    storage.reply = Reply(headers=headers, body=b'{"a": 1}' * 1_000)
    response = http.get(RESULT, headers={"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in response.headers
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["ETag"] == ARCHIVE.headers["ETag"]


def test_pages_of_allowed_origins_can_read_the_archive(start: Callable[..., Nginx]) -> None:
    url = start(CORS_ORIGINS="https://app.test").url + RESULT
    allowed = httpx.get(url, headers={"Origin": "https://app.test"})
    assert allowed.headers["Access-Control-Allow-Origin"] == "https://app.test"
    assert "Content-Range" in allowed.headers["Access-Control-Expose-Headers"]
    assert allowed.headers["Vary"] == "Origin"
    other = httpx.get(url, headers={"Origin": "https://evil.test"})
    assert "Access-Control-Allow-Origin" not in other.headers


def test_logs_contain_neither_the_signed_url_nor_the_token(
    nginx: Nginx, http: httpx.Client, storage: RecordingServer, tmp_path: Path
) -> None:
    http.get(f"{RESULT}?ticket=t1cket")
    http.get(LINK)
    storage.reply = Reply(500)
    http.get(LINK)
    storage.shutdown()
    storage.server_close()
    http.get(LINK)
    lines = log_lines(nginx, 4)
    assert [(line["path"], line["status"]) for line in lines] == [
        *((RESULT, 200), ("/d/***", 200), ("/d/***", 503), ("/d/***", 503))
    ]
    # Of the API and of the storage.
    assert re.fullmatch(r"200 ?[,:] 200", str(lines[0]["upstreamStatus"]))
    logs = nginx.access_log.read_text() + (tmp_path / "nginx.log").read_text()
    for secret in ("5ecret", "archives", "t1cket", "0token"):
        assert secret not in logs


def test_an_archive_goes_to_a_slow_client_without_a_temporary_file(
    nginx: Nginx, storage: RecordingServer
) -> None:
    body = os.urandom(32 * 2**20)
    storage.reply = Reply(headers=ARCHIVE.headers, body=body)
    files: list[Path] = []
    with socket.create_connection(("127.0.0.1", nginx.port), timeout=5) as client:
        client.sendall(f"GET {RESULT} HTTP/1.0\r\n\r\n".encode())
        received = client.recv(1_000)
        file = client.makefile("rb")
        # nginx has read what its buffers and those of the kernel take. The rest waits.
        threading.Event().wait(0.5)
        files += [path for path in nginx.access_log.parent.rglob("proxy/**/*") if path.is_file()]
        received += file.read()
    assert files == []
    assert received.endswith(body)


@pytest.mark.parametrize(
    "url",
    [
        "storage:9000",
        "http",
        "ftp://storage",
        "http://",
        "http://storage/path",
        "http://user:password@storage",
        "http://storage;evil",
        "http://storage?x",
        "http://$host",
        "http://a b",
    ],
)
def test_an_invalid_storage_url_stops_nginx(tmp_path: Path, url: str) -> None:
    environ = {**os.environ, "STORAGE_URL": url, "RUN_DIR": str(tmp_path), "NGINX_BINARY": "true"}
    done = subprocess.run(
        [str(ENTRYPOINT)], env=environ, capture_output=True, text=True, timeout=10, check=False
    )
    assert done.returncode == 1
    assert "STORAGE_URL" in done.stderr


class TlsStorage:
    """A storage with TLS that responds once per connection."""

    def __init__(self, certificate: Path) -> None:
        self.requests: list[bytes] = []
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            # A client that rejects the certificate closes the connection.
            with (
                suppress(OSError),
                self._context.wrap_socket(connection, server_side=True) as client,
            ):
                if request := client.recv(65_536):
                    self.requests.append(request)
                    client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nPK")


@pytest.mark.parametrize(
    ("name", "trusted", "status"),
    [
        ("127.0.0.1", "127.0.0.1", 200),
        ("127.0.0.1", "other.test", 503),
        ("other.test", "other.test", 503),
    ],
    ids=["valid", "unknown authority", "another host"],
)
def test_the_certificate_of_the_storage_is_verified(
    start: Callable[..., Nginx], tmp_path: Path, name: str, trusted: str, status: int
) -> None:
    certificates = {host: make_certificate(host, tmp_path) for host in {name, trusted}}
    storage = TlsStorage(certificates[name])
    try:
        nginx = start(
            STORAGE_URL=f"https://{storage.address}", STORAGE_CA_BUNDLE=str(certificates[trusted])
        )
        assert httpx.get(nginx.url + RESULT).status_code == status
    finally:
        storage.close()
    assert len(storage.requests) == (1 if status == 200 else 0)
