"""Every case of ``cases.py`` on a connection to a real API process, directly and through nginx."""

from __future__ import annotations

import dataclasses
import json
import socket
from collections.abc import Iterator
from http.client import HTTPMessage, parse_headers
from typing import IO, Any
from urllib.parse import urlsplit

import pytest

from stack.nginx import start_nginx
from stack.services import Valkey
from tests.integration.http_conformance import cases
from tests.integration.http_conformance.cases import CASES, Case
from tests.integration.http_conformance.nginx import NGINX
from tests.support.live_api import Api, running

ALL = [
    pytest.param(case, id=f"{group}: {case.name} ({case.rule})")
    for group, members in CASES.items()
    for case in members
]
LIMITS = {
    "CREATE_PER_MINUTE_USER": 1_000_000,
    "CREATE_PER_MINUTE_IP": 1_000_000,
    "REQUESTS_PER_MINUTE_IP": 1_000_000,
}


@pytest.fixture(scope="module")
def api(valkey: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    log = tmp_path_factory.mktemp("conformance") / "log"
    with running(Api(valkey.url, log, **LIMITS)) as started:
        yield started


def _read_response(file: IO[bytes], *, head_only: bool) -> tuple[int, HTTPMessage, bytes]:
    line = file.readline()
    assert line.startswith(b"HTTP/1.1 "), line
    status = int(line.split()[1])
    headers = parse_headers(file)
    if head_only or status < 200 or status in (204, 304):
        return status, headers, b""
    if headers["Transfer-Encoding"] == "chunked":
        body = b""
        while size := int(file.readline(), 16):
            body += file.read(size)
            file.readline()
        file.readline()
        return status, headers, body
    length = headers["Content-Length"]
    return status, headers, file.read() if length is None else file.read(int(length))


def _exchange(
    port: int, case: Case, *, timeout: float = 10, may_stay_open: bool = False
) -> list[tuple[int, HTTPMessage, bytes]]:
    """Send the case; return its responses after checking how the connection goes on.

    ``may_stay_open``: behind a proxy, also after an error that ends the connection otherwise.
    """
    with (
        socket.create_connection(("127.0.0.1", port), timeout) as client,
        client.makefile("rb") as file,
    ):
        client.sendall(case.sent)
        head_only = case.sent.startswith(b"HEAD")
        responses = [_read_response(file, head_only=head_only) for _ in case.responses]
        if case.closes and may_stay_open and responses and responses[-1][0] >= 400:
            pass
        elif case.closes:
            rest = file.read()
            # HTTP/0.9 has no head.
            assert rest == b"" or not case.responses
        elif responses[-1][0] != 100:
            # The next request is read from where this one ended.
            client.sendall(cases.get())
            status, _, _ = _read_response(file, head_only=False)
            assert status == 200
        else:
            client.sendall(cases.JSON)
            status, _, _ = _read_response(file, head_only=False)
            assert status == 202
        return responses


def _check(case: Case, responses: list[tuple[int, HTTPMessage, bytes]]) -> None:
    statuses = [status for status, _, _ in responses]
    for status, allowed in zip(statuses, case.responses, strict=True):
        assert status in allowed, statuses
    for status, headers, body in responses:
        if status >= 400 and body:
            assert headers["Content-Type"] == "application/problem+json"
            assert json.loads(body)["status"] == status


@pytest.mark.parametrize("case", ALL)
def test_server_conforms(api: Api, case: Case) -> None:
    _check(case, _exchange(api.port, case))


@pytest.mark.parametrize("case", ALL)
def test_bytes_that_arrive_in_pieces_are_served_the_same(api: Api, case: Case) -> None:
    if len(case.sent) > 2_000:
        # One piece at a time would take long; the other cases cover every state of the parser.
        pieces = [case.sent[: len(case.sent) // 2], case.sent[len(case.sent) // 2 :]]
    else:
        pieces = [case.sent[start : start + 7] for start in range(0, len(case.sent), 7)]
    with (
        socket.create_connection(("127.0.0.1", api.port), timeout=10) as client,
        client.makefile("rb") as file,
    ):
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for piece in pieces:
                client.sendall(piece)
        except OSError:
            # The server has responded to the beginning and closed the connection.
            assert case.closes
        head_only = case.sent.startswith(b"HEAD")
        responses = [_read_response(file, head_only=head_only) for _ in case.responses]
    _check(case, responses)


@pytest.fixture(scope="module")
def nginx(api: Api, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    nginx = start_nginx(
        tmp_path_factory.mktemp("nginx"),
        upstream=f"127.0.0.1:{api.port}",
        settings={
            "REQUEST_RATE": "100000r/s",
            "REQUEST_BURST": "100000",
            "CREATE_RATE": "100000r/s",
            "CREATE_BURST": "100000",
            "CHECK_RATE": "100000r/s",
            "CHECK_BURST": "100000",
        },
    )
    yield urlsplit(nginx.url).port or 80
    nginx.process.stop(5)


@pytest.mark.parametrize("case", ALL)
def test_nginx_conforms(nginx: int, case: Case) -> None:
    if difference := NGINX.get(case.name):
        case = dataclasses.replace(
            case,
            sent=case.sent + difference.more,
            responses=difference.responses,
            closes=difference.closes,
        )
    _check(case, _exchange(nginx, case, timeout=3, may_stay_open=True))


def test_every_difference_of_nginx_belongs_to_a_case() -> None:
    assert set(NGINX) <= {case.name for members in CASES.values() for case in members}


def test_there_are_enough_cases() -> None:
    names = [(group, case.name) for group, members in CASES.items() for case in members]
    assert len(names) == len(set(names)) >= 120


def test_absolute_form_takes_precedence_over_host(api: Api) -> None:
    # RFC 9112, 3.2.2
    request = cases.post(cases.JSON).replace(b"POST /", b"POST http://other.test:81/", 1)
    assert _created(api.port, request)["statusUrl"].startswith("http://other.test:81/v1/")


@pytest.mark.parametrize("host", [b"my_api", b"my_api:8080", b"a_b.c"])
def test_urls_keep_a_host_with_underscores(api: Api, host: bytes) -> None:
    request = cases.post(cases.JSON).replace(cases.HOST, b"Host: %b\r\n" % host, 1)
    assert _created(api.port, request)["statusUrl"].startswith(f"http://{host.decode()}/v1/")


def test_trailer_is_not_a_header(api: Api) -> None:
    # RFC 9110, 6.5.1: X-User-Id says who the caller is.
    body = cases.CHUNKS[:-2] + b"X-User-Id: mallory\r\nIdempotency-Key: a b\r\n\r\n"
    job = _created(api.port, cases.chunked(body))
    listed = api.get("/v1/download/jobs", {"X-User-Id": "mallory"})
    assert job["jobId"].encode() not in listed[2]


def test_other_websocket_versions_get_the_right_one(api: Api) -> None:
    # RFC 6455, 4.4
    (case,) = [case for case in CASES["upgrades"] if case.name == "WebSocket version 8"]
    ((status, headers, _),) = _exchange(api.port, case)
    assert (status, headers["Sec-WebSocket-Version"]) == (426, "13")
    assert headers["Upgrade"] == "websocket"


def _created(port: int, request: bytes) -> dict[str, Any]:
    case = Case(name="", rule="", sent=request, responses=(cases.ACCEPTED,))
    ((status, _, body),) = _exchange(port, case)
    assert status == 202, body
    created: dict[str, Any] = json.loads(body)
    return created
