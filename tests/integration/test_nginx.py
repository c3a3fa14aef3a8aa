"""The production configuration, in a real nginx, in front of a stand-in for the API."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from api.request_hooks import PAGE_POLICY
from stack.nginx import Nginx, start_nginx
from stack.process import free_port, wait_until
from tests.support.nginx_backend import Backend

STREAMS = ["/v1/download/subscribe/abc", "/v1/download/abc/stream"]
CLOSED = [
    "/metrics",
    "/metrics/",
    "/v1/admin/dead-letters",
    "/v1/admin/stream",
    "/v1/admin",
    "/v1//admin/dead-letters",
    "/v1/%61dmin/dead-letters",
    "/v1/download/../admin/dead-letters",
]


@pytest.fixture
def backend() -> Iterator[Backend]:
    server = Backend()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def web(tmp_path: Path) -> Path:
    root = tmp_path / "web"
    (root / "assets").mkdir(parents=True)
    (root / "index.html").write_text("<!doctype html><title>Longhaul</title>")
    (root / "assets" / "page.js").write_text("export {};")
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
def test_an_event_passes_before_the_next_one_exists(
    start: Callable[..., Nginx], backend: Backend, path: str
) -> None:
    url = start(OPERATOR_NETWORK="127.0.0.0/8").url + path
    with httpx.stream("GET", url, headers={"Accept-Encoding": "gzip"}, timeout=5) as answer:
        chunks = answer.iter_raw()
        assert next(chunks) == b"event: connected\ndata: {}\n\n"
        backend.go_on.set()
        assert b"".join(chunks) == b"event: completed\ndata: {}\n\n"
    assert "Content-Encoding" not in answer.headers


def test_a_client_that_leaves_a_stream_is_gone_for_the_api_at_once(
    http: httpx.Client, backend: Backend
) -> None:
    with http.stream("GET", "/v1/download/abandoned/stream") as answer:
        next(answer.iter_raw())
    assert backend.client_gone.wait(2)


def test_a_websocket_passes_both_ways(start: Callable[..., Nginx]) -> None:
    nginx = start()
    with socket.create_connection(("127.0.0.1", nginx.port), timeout=5) as client:
        client.sendall(
            b"GET /v1/download/subscribe/abc HTTP/1.1\r\nHost: longhaul.test\r\n"
            b"Upgrade: WebSocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        answer = client.recv(4096)
        assert answer.startswith(b"HTTP/1.1 101")
        assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in answer
        client.sendall(b"frame one")
        assert client.recv(1024) == b"frame one"


def test_no_other_upgrade_passes(http: httpx.Client) -> None:
    headers = {"Upgrade": "h2c", "Connection": "Upgrade, HTTP2-Settings", "HTTP2-Settings": "AA"}
    seen = http.get("/v1/download/jobs", headers=headers).json()["headers"]
    assert "upgrade" not in seen
    assert "connection" not in seen


def test_connections_to_the_api_are_used_again(http: httpx.Client, backend: Backend) -> None:
    for _ in range(20):
        http.get("/v1/download/jobs", headers={"Connection": "close"})
    assert len(backend.connections) < 5


@pytest.mark.parametrize("path", CLOSED)
def test_what_is_for_operators_is_closed_to_the_outside(
    start: Callable[..., Nginx], backend: Backend, path: str
) -> None:
    # By hand, because a client library would tidy the path up.
    with socket.create_connection(("127.0.0.1", start().port), timeout=5) as client:
        client.sendall(f"GET {path} HTTP/1.0\r\nHost: longhaul.test\r\n\r\n".encode())
        head, _, body = client.makefile("rb").read().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 404")
    assert json.loads(body)["code"] == "NOT_FOUND"
    assert backend.paths == []


def test_what_is_for_operators_is_open_to_their_network(start: Callable[..., Nginx]) -> None:
    url = start(OPERATOR_NETWORK="127.0.0.0/8").url
    assert httpx.get(f"{url}/metrics").json()["path"] == "/metrics"
    assert httpx.get(f"{url}/v1/admin/dead-letters").status_code == 200


def test_a_client_cannot_lie_about_its_address_or_scheme(http: httpx.Client) -> None:
    lies = {
        "X-Forwarded-For": "203.0.113.9",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "evil.test",
        "Forwarded": "for=203.0.113.9",
    }
    answer = http.get("/v1/download/jobs", headers=lies)
    seen = answer.json()["headers"]
    assert seen["x-forwarded-for"] == "127.0.0.1"
    assert seen["x-forwarded-proto"] == "http"
    assert not {"x-forwarded-host", "forwarded"} & set(seen)
    assert "Strict-Transport-Security" not in answer.headers


def test_a_trusted_proxy_is_believed(start: Callable[..., Nginx]) -> None:
    url = start(TRUSTED_PROXY="127.0.0.0/8").url
    headers = {"X-Forwarded-For": "198.51.100.1, 203.0.113.9", "X-Forwarded-Proto": "https"}
    answer = httpx.get(f"{url}/v1/download/jobs", headers=headers)
    seen = answer.json()["headers"]
    # The last address is the one that the trusted proxy saw; the first is the client's claim.
    assert seen["x-forwarded-for"] == "203.0.113.9"
    assert seen["x-forwarded-proto"] == "https"
    assert answer.headers["Strict-Transport-Security"].startswith("max-age=")


def test_a_sane_request_id_is_kept_and_answered_once(http: httpx.Client) -> None:
    answer = http.get("/v1/download/jobs", headers={"X-Request-ID": "from-the-caller.1"})
    assert answer.json()["headers"]["x-request-id"] == "from-the-caller.1"
    assert answer.headers.get_list("X-Request-ID") == ["from-the-caller.1"]


@pytest.mark.parametrize("bad", ["", "a b", 'quo"te', "x" * 129])
def test_any_other_request_id_becomes_a_uuid(http: httpx.Client, bad: str) -> None:
    answer = http.get("/v1/download/jobs", headers={"X-Request-ID": bad})
    assert re.fullmatch(
        r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-a[0-9a-f]{3}-[0-9a-f]{12}",
        answer.headers["X-Request-ID"],
    )


def test_the_access_log_is_json_and_keeps_tickets_to_itself(start: Callable[..., Nginx]) -> None:
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


def test_no_log_shows_a_stream_s_ticket_when_the_api_is_down(
    start: Callable[..., Nginx], tmp_path: Path
) -> None:
    nginx = start(upstream=f"127.0.0.1:{free_port()}")
    answer = httpx.get(f"{nginx.url}/v1/download/subscribe/abc?ticket=secret")
    assert answer.status_code == 503
    _log_lines(nginx, 1)
    assert "secret" not in (tmp_path / "nginx.log").read_text() + nginx.access_log.read_text()


def test_json_is_compressed(http: httpx.Client) -> None:
    answer = http.get("/v1/download/jobs", headers={"Accept-Encoding": "gzip"})
    assert answer.headers["Content-Encoding"] == "gzip"
    assert answer.json()["path"] == "/v1/download/jobs"


def test_an_api_that_is_down_is_a_problem_to_come_back_from(start: Callable[..., Nginx]) -> None:
    url = start(upstream=f"127.0.0.1:{free_port()}").url
    answer = httpx.get(f"{url}/v1/download/jobs")
    assert answer.status_code == 503
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Retry-After"] == "2"
    problem = answer.json()
    assert (problem["code"], problem["retryable"]) == ("BACKEND_UNAVAILABLE", True)
    assert problem["requestId"] == answer.headers["X-Request-ID"]


def test_a_body_that_is_too_large_never_reaches_the_api(
    http: httpx.Client, backend: Backend
) -> None:
    answer = http.post("/v1/download/initiate", content=b"x" * 70_000)
    assert (answer.status_code, answer.json()["code"]) == (413, "BODY_TOO_LARGE")
    assert backend.paths == []


def test_a_flood_from_one_address_is_refused(start: Callable[..., Nginx]) -> None:
    url = start(REQUEST_RATE="1r/m", REQUEST_BURST="2").url
    answers = [httpx.get(f"{url}/v1/download/jobs") for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
    assert answers[-1].json()["code"] == "RATE_LIMIT_EXCEEDED"
    assert answers[-1].headers["Retry-After"] == "1"


def test_streams_of_one_address_are_bounded_and_leave_room_for_requests(
    start: Callable[..., Nginx], backend: Backend
) -> None:
    url = start(STREAMS_PER_ADDRESS="1", CONNECTIONS_PER_ADDRESS="8").url
    with httpx.stream("GET", url + STREAMS[0]) as first:
        events = first.iter_raw()
        next(events)
        assert httpx.get(url + STREAMS[0]).status_code == 429
        assert httpx.get(f"{url}/v1/download/jobs").status_code == 200
        backend.go_on.set()


def test_a_browser_gets_the_page_and_a_program_the_api(http: httpx.Client) -> None:
    page = http.get("/", headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert "<title>Longhaul</title>" in page.text
    assert page.headers["Cache-Control"] == "no-cache"
    assert "Accept" in page.headers.get_list("Vary", split_commas=True)
    assert http.get("/", headers={"Accept": "application/json"}).json()["path"] == "/"


def test_static_files_are_cached_and_guarded(http: httpx.Client) -> None:
    script = http.get("/assets/page.js")
    assert script.headers["Content-Type"].startswith("text/javascript")
    assert script.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert script.headers["X-Content-Type-Options"] == "nosniff"
    assert script.headers["X-Frame-Options"] == "DENY"
    assert script.headers["Content-Security-Policy"] == PAGE_POLICY


@pytest.mark.parametrize("path", ["/openapi.json", "/docs", "/health", "/health/ready"])
def test_what_is_no_file_is_the_api_s(http: httpx.Client, path: str) -> None:
    assert http.get(path).json()["path"] == path


def test_the_server_does_not_tell_its_version(http: httpx.Client) -> None:
    assert http.get("/v1/download/jobs").headers["Server"] == "nginx"
