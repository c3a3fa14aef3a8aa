"""A webhook is posted only to an address that was checked, and ends in time."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from common.callback_urls import is_public
from tests.support.certificates import make_certificate
from tests.support.raw_origin import RawOrigin, Request
from tests.support.webhook_receiver import Receiver, running
from worker.webhooks.http_poster import WebhookPoster, WebhookResponse

Lookup = dict[str, list[str]]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with running() as server:
        yield server


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Lookup:
    """What names resolve to: each lookup consumes one result, the last one stays."""
    results: Lookup = {}
    original = socket.getaddrinfo

    def look_up(host: str, port: int, *args: object, **kwargs: object) -> object:
        if host not in results:
            return original(host, port, *args, **kwargs)  # type: ignore[arg-type]
        addresses = results[host].pop(0) if len(results[host]) > 1 else results[host][0]
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in addresses.split()
        ]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return results


def any_address(_: str) -> bool:
    return True


def without_headers(response: WebhookResponse) -> WebhookResponse:
    return replace(response, headers=None)


def test_the_request_has_the_path_host_headers_and_body(receiver: Receiver, names: Lookup) -> None:
    names["hooks.example"] = ["127.0.0.1"]
    url = receiver.url("/a/b?c=d", host="hooks.example")
    response = WebhookPoster(any_address).post(url, b"{}", {"X-A": "b"})
    assert without_headers(response) == WebhookResponse(status=204)
    (post,) = receiver.posts
    assert (post.path, post.body, post.headers["x-a"]) == ("/a/b?c=d", b"{}", "b")
    assert post.headers["host"] == f"hooks.example:{receiver.port}"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_private_addresses_are_not_connected_to(receiver: Receiver, host: str) -> None:
    assert WebhookPoster(is_public).post(receiver.url(host=host), b"{}", {}) == WebhookResponse(
        error="refused"
    )
    assert receiver.posts == []


def test_a_name_that_resolves_to_a_private_address_later_is_resolved_only_once(
    receiver: Receiver, names: Lookup
) -> None:
    names["rebind.example"] = ["198.51.100.1", "127.0.0.1"]
    poster = WebhookPoster(lambda address: address == "198.51.100.1", timeout=0.5)
    response = poster.post(receiver.url(host="rebind.example"), b"{}", {})
    assert response.error in ("timeout", "unreachable")
    assert receiver.posts == []


def test_a_name_with_a_public_and_a_private_address_is_rejected(
    receiver: Receiver, names: Lookup
) -> None:
    names["mixed.example"] = ["8.8.8.8 127.0.0.1"]
    response = WebhookPoster(is_public).post(receiver.url(host="mixed.example"), b"{}", {})
    assert response == WebhookResponse(error="refused")


def test_redirects_are_not_followed(receiver: Receiver) -> None:
    receiver.responses = [(307, {"Location": receiver.url("/elsewhere")})]
    assert WebhookPoster(any_address).post(receiver.url(), b"{}", {}).status == 307
    assert len(receiver.posts) == 1


def test_retry_after_is_returned(receiver: Receiver) -> None:
    receiver.responses = [(503, {"Retry-After": "7"})]
    response = WebhookPoster(any_address).post(receiver.url(), b"{}", {})
    assert without_headers(response) == WebhookResponse(status=503, retry_after="7")
    assert response.headers
    assert response.headers["Retry-After"] == "7"


def test_the_certificate_is_checked_against_the_name_of_the_url(
    names: Lookup, tmp_path: Path
) -> None:
    certificate = make_certificate("hooks.example", tmp_path)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    trusting = ssl.create_default_context(cafile=str(certificate))
    names["hooks.example"] = names["other.example"] = ["127.0.0.1"]
    with running(server) as receiver:
        poster = WebhookPoster(any_address, tls=trusting)
        for host, expected in (
            ("hooks.example", WebhookResponse(status=204)),
            ("other.example", WebhookResponse(error="tls")),
        ):
            response = poster.post(receiver.url(host=host, scheme="https"), b"{}", {})
            assert without_headers(response) == expected
        url = receiver.url(host="hooks.example", scheme="https")
        assert WebhookPoster(any_address).post(url, b"{}", {}) == WebhookResponse(error="tls")


@pytest.mark.parametrize("prefix", [b"", b"HTTP/1.1 200 OK\r\nX-Slow: "])
def test_a_server_that_sends_slowly_is_aborted_after_the_total_timeout(prefix: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def trickle() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(prefix)
                try:
                    while True:
                        connection.sendall(b"a")
                        time.sleep(0.1)
                except OSError:
                    return

        threading.Thread(target=trickle, daemon=True).start()
        began = time.monotonic()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        assert WebhookPoster(any_address, timeout=0.6).post(url, b"{}", {}) == WebhookResponse(
            error="timeout"
        )
        assert 0.5 < time.monotonic() - began < 1.5


def test_unreachable_servers_and_malformed_urls_are_errors_of_the_response() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    poster = WebhookPoster(any_address, timeout=2)
    assert poster.post(f"http://127.0.0.1:{port}/", b"{}", {}) == WebhookResponse(
        error="unreachable"
    )
    assert poster.post(f"http://{'a' * 70}.example/", b"{}", {}) == WebhookResponse(
        error="protocol"
    )


@pytest.mark.parametrize(("interim", "expected"), [
    (b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n", WebhookResponse(status=200)),
    (b"HTTP/1.1 102 Processing\r\n\r\n" * 5, WebhookResponse(status=200)),
    (b"HTTP/1.1 102 Processing\r\n\r\n" * 500, WebhookResponse(error="protocol")),
    (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", WebhookResponse(error="protocol")),
])  # fmt: skip
def test_status_is_that_of_the_final_response(interim: bytes, expected: WebhookResponse) -> None:
    """RFC 9110, 15.2: a receiver that sends 103 and then 200 has received the event."""
    count = 0

    def serve(_: Request) -> bytes:
        nonlocal count
        count += 1
        return interim + b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

    receiver = RawOrigin(serve)
    try:
        response = WebhookPoster(any_address).post(receiver.url, b"", {})
        assert without_headers(response) == expected
        assert count == 1
    finally:
        receiver.close()


def test_an_ipv6_address_keeps_its_host_and_default_port(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_up: list[tuple[str, int]] = []

    def look_up(host: str, port: int, **_: object) -> list[object]:
        looked_up.append((host, port))
        return []

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    for url in ("http://[2001:db8::8]/a", "https://[2001:db8::8]/a", "http://[2001:db8::8]:81/"):
        WebhookPoster(any_address).post(url, b"{}", {})
    assert looked_up == [("2001:db8::8", 80), ("2001:db8::8", 443), ("2001:db8::8", 81)]


def test_a_name_that_cannot_be_resolved_in_time_is_a_timeout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(3))
    began = time.monotonic()
    response = WebhookPoster(any_address, timeout=0.3).post("http://slow.example/", b"{}", {})
    assert response == WebhookResponse(error="timeout")
    assert time.monotonic() - began < 2
