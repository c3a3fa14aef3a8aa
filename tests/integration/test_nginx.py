"""Tests for the production nginx configuration, in a real nginx in front of a fake API."""

from __future__ import annotations

import gzip
import json
import os
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from api.request_hooks import PAGE_POLICY
from stack.nginx import ENTRYPOINT, Nginx, start_nginx
from stack.process import free_port, wait_until
from tests.support.nginx_backend import Backend
from tests.support.problem_documents import ERRORS_OF_NGINX, check_problem, exchange

STREAMS = ["/v1/download/subscribe/abc", "/v1/download/abc/stream"]
OPERATOR_PATHS = [
    "/metrics",
    "/metrics/",
    "/health",
    "/health/ready",
    "/health/",
    "/health/live/",
    "/health/live/../ready",
    "/%68ealth",
    "//health/ready",
    "/v1/admin/dead-letters",
    "/v1/admin/stream",
    "/v1/admin",
    "/v1//admin/dead-letters",
    "/v1/%61dmin/dead-letters",
    "/v1/download/../admin/dead-letters",
]


@pytest.fixture
def web(tmp_path: Path) -> Path:
    root = tmp_path / "web"
    (root / "assets").mkdir(parents=True)
    (root / "index.html").write_text("<!doctype html><title>Longhaul</title>")
    (root / "assets" / "page.js").write_text("export {};")
    for name in ("large.js", "large.css"):
        (root / "assets" / name).write_text("a {}" * 1_000)
    (root / "assets" / "large.js.gz").write_bytes(gzip.compress(b"a {}" * 1_000, 9))
    (root / "docs").mkdir()
    (root / "docs" / "swagger-ui.css").write_text("a {}" * 1_000)
    return root


@pytest.fixture
def start(tmp_path: Path, backend: Backend, web: Path) -> Iterator[Callable[..., Nginx]]:
    running: list[Nginx] = []

    def _start(upstream: str | None = None, **settings: str) -> Nginx:
        running.append(
            start_nginx(
                tmp_path / f"nginx{len(running)}",
                upstream=upstream or backend.address,
                settings={"WEB_ROOT": str(web), **settings},
                output=tmp_path / "nginx.log",
            )
        )
        return running[-1]

    yield _start
    for nginx in running:
        nginx.process.stop(5)


@pytest.fixture
def http(start: Callable[..., Nginx]) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=start().url, timeout=5) as client:
        yield client


def _log_lines(nginx: Nginx, count: int) -> list[dict[str, object]]:
    wait_until(lambda: len(nginx.access_log.read_text().splitlines()) >= count, "the log", 5)
    return [json.loads(line) for line in nginx.access_log.read_text().splitlines()]


@pytest.mark.parametrize("path", [*STREAMS, "/v1/admin/stream"])
def test_stream_events_are_forwarded_without_buffering(
    start: Callable[..., Nginx], backend: Backend, path: str
) -> None:
    url = start(OPERATOR_NETWORK="127.0.0.0/8").url + path
    with httpx.stream("GET", url, headers={"Accept-Encoding": "gzip"}, timeout=5) as response:
        chunks = response.iter_raw()
        assert next(chunks) == b"event: connected\ndata: {}\n\n"
        backend.send_next_event.set()
        assert b"".join(chunks) == b"event: completed\ndata: {}\n\n"
    assert "Content-Encoding" not in response.headers


def test_the_api_connection_closes_when_the_client_leaves_a_stream(
    http: httpx.Client, backend: Backend
) -> None:
    with http.stream("GET", "/v1/download/abandoned/stream") as response:
        next(response.iter_raw())
    assert backend.client_gone.wait(2)


def test_websocket_data_is_forwarded_in_both_directions(start: Callable[..., Nginx]) -> None:
    nginx = start()
    with socket.create_connection(("127.0.0.1", nginx.port), timeout=5) as client:
        client.sendall(
            b"GET /v1/download/subscribe/abc HTTP/1.1\r\nHost: longhaul.test\r\n"
            b"Upgrade: WebSocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        response = client.recv(4096)
        assert response.startswith(b"HTTP/1.1 101")
        assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in response
        client.sendall(b"frame one")
        assert client.recv(1024) == b"frame one"


def test_upgrades_other_than_websocket_are_not_forwarded(http: httpx.Client) -> None:
    headers = {"Upgrade": "h2c", "Connection": "Upgrade, HTTP2-Settings", "HTTP2-Settings": "AA"}
    received = http.get("/v1/download/jobs", headers=headers).json()["headers"]
    assert "upgrade" not in received
    assert "connection" not in received


def test_connections_to_the_api_are_reused(http: httpx.Client, backend: Backend) -> None:
    for _ in range(20):
        http.get("/v1/download/jobs", headers={"Connection": "close"})
    assert len(backend.connections) < 5


@pytest.mark.parametrize("path", OPERATOR_PATHS)
def test_operator_paths_return_404_to_outside_clients(
    start: Callable[..., Nginx], backend: Backend, path: str
) -> None:
    # Over a raw socket, because an HTTP client would normalize the path.
    request = f"GET {path} HTTP/1.0\r\nHost: longhaul.test\r\n\r\n"
    check_problem(*exchange(start().port, request.encode()), 404, "NOT_FOUND")
    assert backend.paths == []


def test_operator_paths_are_open_to_the_operator_network(start: Callable[..., Nginx]) -> None:
    url = start(OPERATOR_NETWORK="127.0.0.0/8").url
    assert httpx.get(f"{url}/metrics").json()["path"] == "/metrics"
    assert httpx.get(f"{url}/v1/admin/dead-letters").status_code == 200
    assert httpx.get(f"{url}/health/ready").json()["path"] == "/health/ready"


def test_forwarding_headers_from_clients_are_replaced(http: httpx.Client) -> None:
    forged = {
        "X-Forwarded-For": "203.0.113.9",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "evil.test",
        "Forwarded": "for=203.0.113.9",
    }
    response = http.get("/v1/download/jobs", headers=forged)
    received = response.json()["headers"]
    assert received["x-forwarded-for"] == "127.0.0.1"
    assert received["x-forwarded-proto"] == "http"
    assert not {"x-forwarded-host", "forwarded"} & set(received)
    assert "Strict-Transport-Security" not in response.headers


def test_forwarding_headers_from_a_trusted_proxy_are_used(start: Callable[..., Nginx]) -> None:
    url = start(TRUSTED_PROXY="127.0.0.0/8").url
    headers = {"X-Forwarded-For": "198.51.100.1, 203.0.113.9", "X-Forwarded-Proto": "https"}
    response = httpx.get(f"{url}/v1/download/jobs", headers=headers)
    received = response.json()["headers"]
    # The trusted proxy saw the last address. The first one is the client's own claim.
    assert received["x-forwarded-for"] == "203.0.113.9"
    assert received["x-forwarded-proto"] == "https"
    assert response.headers["Strict-Transport-Security"].startswith("max-age=")


def test_a_valid_request_id_is_forwarded_and_returned_once(http: httpx.Client) -> None:
    response = http.get("/v1/download/jobs", headers={"X-Request-ID": "from-the-caller.1"})
    assert response.json()["headers"]["x-request-id"] == "from-the-caller.1"
    assert response.headers.get_list("X-Request-ID") == ["from-the-caller.1"]


@pytest.mark.parametrize("bad", ["", "a b", 'quo"te', "x" * 129])
def test_an_invalid_request_id_is_replaced_by_a_uuid(http: httpx.Client, bad: str) -> None:
    response = http.get("/v1/download/jobs", headers={"X-Request-ID": bad})
    assert re.fullmatch(
        r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-a[0-9a-f]{3}-[0-9a-f]{12}",
        response.headers["X-Request-ID"],
    )


def test_the_access_log_is_json_without_tickets(start: Callable[..., Nginx]) -> None:
    nginx = start()
    headers = {"X-Request-ID": "trace-me", "User-Agent": 'quo"te'}
    httpx.get(f"{nginx.url}/v1/download/jobs?ticket=secret", headers=headers)
    (line,) = _log_lines(nginx, 1)
    assert line["requestId"] == "trace-me"
    assert line["path"] == "/v1/download/jobs"
    assert line["status"] == 200
    assert line["upstreamStatus"] == "200"
    assert line["agent"] == 'quo"te'
    assert "secret" not in nginx.access_log.read_text()


@pytest.mark.parametrize("path", ["/d/0secret", "//d/0secret", "/%64/0secret", "/d/0secret?x"])
def test_the_access_log_does_not_contain_the_token_of_a_link(
    start: Callable[..., Nginx], path: str
) -> None:
    nginx = start()
    assert httpx.get(f"{nginx.url}{path}").status_code == 200
    (line,) = _log_lines(nginx, 1)
    assert (line["path"], line["upstreamStatus"]) == ("/d/***", "200")
    assert "secret" not in nginx.access_log.read_text()


@pytest.mark.parametrize(
    "path",
    ["/v1/download/subscribe/abc?ticket=secret", "/v1/download/abc?ticket=secret", "/d/0secret"],
)
def test_logs_contain_no_tickets_while_the_api_is_down(
    start: Callable[..., Nginx], tmp_path: Path, path: str
) -> None:
    nginx = start(upstream=f"127.0.0.1:{free_port()}")
    response = httpx.get(f"{nginx.url}{path}")
    assert response.status_code == 503
    _log_lines(nginx, 1)
    assert "secret" not in (tmp_path / "nginx.log").read_text() + nginx.access_log.read_text()


def test_json_responses_are_compressed(http: httpx.Client) -> None:
    response = http.get("/v1/download/jobs", headers={"Accept-Encoding": "gzip"})
    assert response.headers["Content-Encoding"] == "gzip"
    assert response.json()["path"] == "/v1/download/jobs"


def test_a_client_that_reads_slowly_does_not_fill_the_disk(
    start: Callable[..., Nginx], tmp_path: Path
) -> None:
    nginx, size = start(), 20_000_000  # More than the buffers of all sockets.
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        client.settimeout(20)
        client.connect(("127.0.0.1", nginx.port))
        client.sendall(
            b"GET /docs/a.js HTTP/1.1\r\nHost: longhaul.test\r\nConnection: close\r\n"
            b"X-Test-Padding: %d\r\n\r\n" % size
        )
        with client.makefile("rb") as response:
            assert response.readline() == b"HTTP/1.1 200 OK\r\n"
            # Far longer than nginx takes to read the response, if it does.
            time.sleep(0.5)
            assert len(response.read()) > size
    # nginx warns about each file; it has no name.
    assert "temporary file" not in (tmp_path / "nginx.log").read_text()


def test_the_largest_body_is_kept_in_memory(http: httpx.Client, tmp_path: Path) -> None:
    assert http.post("/v1/download/initiate", content=b"x" * 65_536).status_code == 200
    assert "temporary file" not in (tmp_path / "nginx.log").read_text()


def test_an_unreachable_api_returns_a_retryable_503_problem(start: Callable[..., Nginx]) -> None:
    url = start(upstream=f"127.0.0.1:{free_port()}").url
    response = httpx.get(f"{url}/v1/download/jobs")
    assert response.status_code == 503
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.headers["Retry-After"] == "2"
    problem = response.json()
    assert (problem["code"], problem["retryable"]) == ("BACKEND_UNAVAILABLE", True)
    assert problem["requestId"] == response.headers["X-Request-ID"]


def test_an_oversized_body_is_rejected_before_the_api(http: httpx.Client, backend: Backend) -> None:
    response = http.post("/v1/download/initiate", content=b"x" * 70_000)
    assert (response.status_code, response.json()["code"]) == (413, "BODY_TOO_LARGE")
    assert backend.paths == []


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        *ERRORS_OF_NGINX,
        (b"POST /assets/page.js HTTP/1.1\r\nHost: x\r\n\r\n", 405, "METHOD_NOT_ALLOWED"),
        (
            b'GET /assets/page.js HTTP/1.1\r\nHost: x\r\nIf-Match: "x"\r\n\r\n',
            412,
            "PRECONDITION_FAILED",
        ),
    ],
)
def test_errors_of_nginx_itself_are_problem_documents(
    start: Callable[..., Nginx], backend: Backend, request_: bytes, status: int, code: str
) -> None:
    """RFC 9457; RFC 6585, 5 for status 431."""
    head, body = exchange(start().port, request_)
    check_problem(head, body, status, code)
    assert backend.paths == []


@pytest.mark.parametrize(
    ("request_line", "allowed"),
    [
        (b"POST /assets/page.js", "GET, HEAD"),
        (b"TRACE /assets/page.js", "GET, HEAD"),
        (b"TRACE /v1/download/initiate", "DELETE, GET, HEAD, OPTIONS, POST"),
    ],
)
def test_405_lists_the_methods_that_are_allowed(
    start: Callable[..., Nginx], request_line: bytes, allowed: str
) -> None:
    """RFC 9110, 15.5.6."""
    head, _ = exchange(start().port, request_line + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    assert f"\r\nAllow: {allowed}\r\n".encode() in head + b"\r\n"


def test_a_range_of_a_static_file_is_ignored(http: httpx.Client) -> None:
    """RFC 9110, 14.2. A range beyond the end of the file would be an error."""
    response = http.get("/assets/page.js", headers={"Range": "bytes=99-"})
    assert (response.status_code, response.text) == (200, "export {};")
    assert "Accept-Ranges" not in response.headers


@pytest.mark.parametrize(
    ("allowed", "origin", "expected", "vary"),
    [
        ("https://app.example, https://b.example", "https://b.example", "https://b.example", True),
        ("https://app.example", "https://evil.example", None, True),
        ("https://app.example", "https://app.example.evil.example", None, True),
        ("https://app.example", None, None, True),
        ("*", "https://any.example", "*", False),
        ("", "https://app.example", None, False),
    ],
)
def test_pages_of_allowed_origins_may_read_errors_of_nginx_itself(
    start: Callable[..., Nginx], allowed: str, origin: str | None, expected: str | None, vary: bool
) -> None:
    """Fetch standard, 3.2: without these headers a browser hides the error from the page."""
    url = start(upstream=f"127.0.0.1:{free_port()}", CORS_ORIGINS=allowed).url
    headers = {"Origin": origin} if origin else {}
    for path, status in (("/v1/download/jobs", 503), ("/v1/admin/jobs", 404)):
        response = httpx.get(url + path, headers=headers)
        assert response.status_code == status
        assert response.headers.get("Access-Control-Allow-Origin") == expected
        exposed = response.headers.get("Access-Control-Expose-Headers", "")
        assert ("Retry-After" in exposed) is (expected is not None)
        assert ("Origin" in response.headers.get("Vary", "")) is vary


def test_entrypoint_rejects_an_invalid_origin(tmp_path: Path) -> None:
    env = {"PATH": os.environ["PATH"], "RUN_DIR": str(tmp_path), "NGINX_BINARY": "true"}
    for origins, code in (("https://a.example", 0), ('https://a.example";x', 1), ("a;b", 1)):
        done = subprocess.run(
            [str(ENTRYPOINT)],
            env={**env, "CORS_ORIGINS": origins},
            capture_output=True,
            text=True,
            timeout=20,
        )
        assert done.returncode == code
        assert ("CORS_ORIGINS" in done.stderr) is bool(code)


def test_headers_of_8_kilobytes_pass_in_both_directions(http: httpx.Client) -> None:
    """A signed link by temporary credentials, and a token with many claims."""
    headers = {"Authorization": f"Bearer {'x' * 8_192}", "X-Test-Location-Size": "8192"}
    response = http.get("/v1/download/abc", headers=headers)
    assert response.status_code == 200
    assert len(response.headers["Location"]) > 8_192
    assert len(response.json()["headers"]["authorization"]) > 8_192


def test_requests_above_the_rate_of_an_address_get_429(start: Callable[..., Nginx]) -> None:
    url = start(REQUEST_RATE="1r/m", REQUEST_BURST="2").url
    responses = [httpx.get(f"{url}/v1/download/jobs") for _ in range(5)]
    assert [response.status_code for response in responses] == [200, 200, 200, 429, 429]
    assert responses[-1].json()["code"] == "RATE_LIMIT_EXCEEDED"
    assert responses[-1].headers["Retry-After"] == "1"


@pytest.mark.parametrize(
    ("addresses", "other"),
    [
        # A network of IPv6 counts as one address (RFC 6177), in any notation.
        (["2001:db8::1", "2001:db8:0:0:ffff::2", "2001:DB8::a00:1"], "2001:db8:0:1::1"),
        # Bytes that mean something in a regular expression, and a line end.
        (["2a0a:a2e:5c24::1", "2a0a:a2e:5c24::a0a:a0a"], "2a0a:a2e:5c24:1::1"),
        (["::1:0:0:0:1", "::1:a:0:0:2"], "::2:0:0:0:1"),
        # RFC 4291, 2.5.5.2: an IPv4 address may be written as an IPv6 one.
        (["192.0.2.10", "::ffff:192.0.2.10", "::ffff:c000:20a"], "::ffff:192.0.2.11"),
    ],
)
def test_a_network_of_ipv6_has_one_limit(
    start: Callable[..., Nginx], addresses: list[str], other: str
) -> None:
    options = {"REQUEST_RATE": "1r/m", "CREATE_RATE": "1r/m", "CHECK_RATE": "1r/m"}
    bursts = {"REQUEST_BURST": "9", "CREATE_BURST": "1", "CHECK_BURST": "1"}
    with httpx.Client(base_url=start(TRUSTED_PROXY="127.0.0.0/8", **options, **bursts).url) as http:

        def post(path: str, address: str) -> int:
            headers = {"X-Forwarded-For": address}
            return http.post(f"/v1/download/{path}", json={}, headers=headers).status_code

        for path in ("initiate", "check"):
            statuses = [post(path, each) for each in addresses * 2]
            assert statuses == [200, 200] + [429] * (len(statuses) - 2)
            assert post(path, other) == 200
        statuses = [post("cancel/abc", each) for each in addresses * 9]
        assert statuses[-len(addresses) :] == [429] * len(addresses)
        assert post("cancel/abc", other) == 200


def test_calls_that_create_jobs_have_a_limit_of_their_own(start: Callable[..., Nginx]) -> None:
    with httpx.Client(base_url=start(CREATE_RATE="1r/m", CREATE_BURST="1").url) as http:
        responses = [http.post("/v1/download/initiate", json={}) for _ in range(3)]
        assert [response.status_code for response in responses] == [200, 200, 429]
        assert responses[-1].json()["code"] == "RATE_LIMIT_EXCEEDED"
        for path in ("async", "start", "abc/retry", "%69nitiate", "x/../initiate"):
            assert http.post(f"/v1/download/{path}", json={}).status_code == 429, path
        for path in ("replay", "secret/rotate", "../download/abc/deliveries/1/replay"):
            assert http.post(f"/v1/webhooks/{path}", json={}).status_code == 429, path
        # Checking files, and watching and cancelling jobs, still works.
        for path in ("check", "cancel/abc"):
            assert http.post(f"/v1/download/{path}", json={}).status_code == 200, path
        for path in ("jobs", "status/abc", "initiate"):
            assert http.get(f"/v1/download/{path}").status_code == 200, path


def test_checks_have_a_limit_of_their_own(start: Callable[..., Nginx]) -> None:
    with httpx.Client(base_url=start(CHECK_RATE="1r/m", CHECK_BURST="1").url) as http:
        responses = [http.post("/v1/download/check", json={}) for _ in range(3)]
        assert [response.status_code for response in responses] == [200, 200, 429]
        assert responses[-1].json()["code"] == "RATE_LIMIT_EXCEEDED"
        assert http.post("/v1/download/initiate", json={}).status_code == 200


def test_the_stream_limit_of_an_address_does_not_block_requests(
    start: Callable[..., Nginx], backend: Backend
) -> None:
    url = start(STREAMS_PER_ADDRESS="1", CONNECTIONS_PER_ADDRESS="8").url
    with httpx.stream("GET", url + STREAMS[0]) as first:
        events = first.iter_raw()
        next(events)
        assert httpx.get(url + STREAMS[0]).status_code == 429
        assert httpx.get(f"{url}/v1/download/jobs").status_code == 200
        backend.send_next_event.set()


def test_the_root_returns_the_page_to_browsers_and_json_to_programs(http: httpx.Client) -> None:
    page = http.get("/", headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert "<title>Longhaul</title>" in page.text
    assert page.headers["Cache-Control"] == "no-cache"
    assert "Accept" in page.headers.get_list("Vary", split_commas=True)
    assert http.get("/", headers={"Accept": "application/json"}).json()["path"] == "/"
    # The API compares the weights (RFC 9110, 12.5.1).
    for weighted in ("application/json, text/html;q=0", "application/json, text/html; q=0.1"):
        assert http.get("/", headers={"Accept": weighted}).json()["path"] == "/"


@pytest.mark.parametrize("path", ["/operator", "/operator/"])
def test_the_operator_page_is_served_from_the_copy_of_nginx(
    http: httpx.Client, backend: Backend, path: str
) -> None:
    page = http.get(path)
    assert "<title>Longhaul</title>" in page.text
    assert page.headers["Cache-Control"] == "no-cache"
    assert page.headers["Content-Security-Policy"] == PAGE_POLICY
    assert backend.paths == []


def test_static_files_have_cache_and_security_headers(http: httpx.Client) -> None:
    script = http.get("/assets/page.js")
    assert script.headers["Content-Type"].startswith("text/javascript")
    assert script.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert script.headers["X-Content-Type-Options"] == "nosniff"
    assert script.headers["X-Frame-Options"] == "DENY"
    assert script.headers["X-Request-ID"]
    assert script.headers["Content-Security-Policy"] == PAGE_POLICY


@pytest.mark.parametrize("accepted", ["gzip", "br, GZIP;q=0.5", "deflate ,gzip", "gzip;q=0.01"])
def test_a_script_is_sent_as_the_build_compressed_it(
    http: httpx.Client, web: Path, accepted: str
) -> None:
    with http.stream("GET", "/assets/large.js", headers={"Accept-Encoding": accepted}) as script:
        sent = b"".join(script.iter_raw())
    assert sent == (web / "assets" / "large.js.gz").read_bytes()
    assert script.headers["Content-Encoding"] == "gzip"
    assert script.headers["Content-Type"].startswith("text/javascript")
    assert script.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert "Accept-Encoding" in script.headers.get_list("Vary", split_commas=True)


@pytest.mark.parametrize(
    ("path", "accepted"),
    [
        # RFC 9110, 12.5.3
        *(("large.js", accepted) for accepted in ("", "identity", "gzip;q=0", "gzip; q=0.000, br")),
        *(("large.js", accepted) for accepted in ("xgzip", "x-gzip2", "br;gzip")),
        # There is no compressed copy, and compressing it for each request would cost too much.
        ("large.css", "gzip"),
    ],
)
def test_other_files_of_the_page_are_not_compressed(
    http: httpx.Client, path: str, accepted: str
) -> None:
    file = http.get(f"/assets/{path}", headers={"Accept-Encoding": accepted})
    assert file.text == "a {}" * 1_000
    assert "Content-Encoding" not in file.headers
    assert "Accept-Encoding" in file.headers.get_list("Vary", split_commas=True)


def test_the_openapi_document_is_not_compressed(http: httpx.Client) -> None:
    document = http.get("/openapi.json", headers={"Accept-Encoding": "gzip"})
    assert document.json()["path"] == "/openapi.json"
    assert "Content-Encoding" not in document.headers


def test_the_files_of_swagger_ui_are_served_by_nginx(http: httpx.Client, backend: Backend) -> None:
    style = http.get("/docs/swagger-ui.css", headers={"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in style.headers
    assert style.headers["Content-Type"].startswith("text/css")
    assert style.headers["Cache-Control"] == "public, max-age=86400"
    assert style.headers["X-Content-Type-Options"] == "nosniff"
    assert backend.paths == []


@pytest.mark.parametrize(
    "path",
    ["/openapi.json", "/docs", "/docs/", "/docs/problems", "/docs/start.js", "/health/live"],
)
def test_paths_without_a_file_are_forwarded_to_the_api(http: httpx.Client, path: str) -> None:
    assert http.get(path).json()["path"] == path


def test_nginx_writes_into_its_own_folder_only(start: Callable[..., Nginx], tmp_path: Path) -> None:
    """It creates the folders of all its modules, also on the read-only disk of the image."""
    start()
    run = tmp_path / "nginx0" / "run"
    assert [path.name for path in run.iterdir() if path.name.endswith("_temp")] == []


def test_the_server_header_hides_the_version(http: httpx.Client) -> None:
    assert http.get("/v1/download/jobs").headers["Server"] == "nginx"
