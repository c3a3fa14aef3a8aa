"""A webhook's POST goes to the address that was judged, to no other, and ends in time."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.callback_urls import is_public
from tests.support.certificates import make_certificate
from tests.support.webhook_receiver import Receiver, running
from worker.webhooks.http_poster import Poster, WebhookResponse

Lookup = dict[str, list[str]]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with running() as server:
        yield server


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Lookup:
    """What names resolve to; every look-up takes the first answer off, the last one stays."""
    known: Lookup = {}
    original = socket.getaddrinfo

    def look_up(host: str, port: int, *args: object, **kwargs: object) -> object:
        if host not in known:
            return original(host, port, *args, **kwargs)  # type: ignore[arg-type]
        addresses = known[host].pop(0) if len(known[host]) > 1 else known[host][0]
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in addresses.split()
        ]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return known


def anywhere(_: str) -> bool:
    return True


def test_the_post_carries_path_host_headers_and_body(receiver: Receiver, names: Lookup) -> None:
    names["hooks.example"] = ["127.0.0.1"]
    url = receiver.url("/a/b?c=d", host="hooks.example")
    assert Poster(anywhere).post(url, b"{}", {"X-A": "b"}) == WebhookResponse(status=204)
    (post,) = receiver.posts
    assert (post.path, post.body, post.headers["x-a"]) == ("/a/b?c=d", b"{}", "b")
    assert post.headers["host"] == f"hooks.example:{receiver.port}"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_private_address_is_not_connected_to(receiver: Receiver, host: str) -> None:
    assert Poster(is_public).post(receiver.url(host=host), b"{}", {}) == WebhookResponse(
        error="refused"
    )
    assert receiver.posts == []


def test_a_name_that_is_public_once_and_private_on_the_second_look_up_gains_nothing(
    receiver: Receiver, names: Lookup
) -> None:
    names["rebind.example"] = ["198.51.100.1", "127.0.0.1"]
    poster = Poster(lambda address: address == "198.51.100.1", timeout=0.5)
    answer = poster.post(receiver.url(host="rebind.example"), b"{}", {})
    assert answer.error in ("timeout", "unreachable")
    assert receiver.posts == []


def test_a_name_with_one_private_address_among_public_ones_is_refused(
    receiver: Receiver, names: Lookup
) -> None:
    names["mixed.example"] = ["8.8.8.8 127.0.0.1"]
    answer = Poster(is_public).post(receiver.url(host="mixed.example"), b"{}", {})
    assert answer == WebhookResponse(error="refused")


def test_a_redirect_is_an_answer_and_is_not_followed(receiver: Receiver) -> None:
    receiver.answers = [(307, {"Location": receiver.url("/elsewhere")})]
    assert Poster(anywhere).post(receiver.url(), b"{}", {}).status == 307
    assert len(receiver.posts) == 1


def test_retry_after_is_passed_on(receiver: Receiver) -> None:
    receiver.answers = [(503, {"Retry-After": "7"})]
    expected = WebhookResponse(status=503, retry_after="7")
    assert Poster(anywhere).post(receiver.url(), b"{}", {}) == expected


def test_tls_is_checked_against_the_name_and_not_the_address(names: Lookup, tmp_path: Path) -> None:
    certificate = make_certificate("hooks.example", tmp_path)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    trusting = ssl.create_default_context(cafile=str(certificate))
    names["hooks.example"] = names["other.example"] = ["127.0.0.1"]
    with running(server) as receiver:
        poster = Poster(anywhere, tls=trusting)
        for host, expected in (
            ("hooks.example", WebhookResponse(status=204)),
            ("other.example", WebhookResponse(error="tls")),
        ):
            assert poster.post(receiver.url(host=host, scheme="https"), b"{}", {}) == expected
        url = receiver.url(host="hooks.example", scheme="https")
        assert Poster(anywhere).post(url, b"{}", {}) == WebhookResponse(error="tls")


@pytest.mark.parametrize("prefix", [b"", b"HTTP/1.1 200 OK\r\nX-Slow: "])
def test_a_server_that_trickles_is_left_after_the_whole_timeout(prefix: bytes) -> None:
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
        assert Poster(anywhere, timeout=0.6).post(url, b"{}", {}) == WebhookResponse(
            error="timeout"
        )
        assert 0.5 < time.monotonic() - began < 1.5


def test_nonsense_and_nobody_there_are_answers_too() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    poster = Poster(anywhere, timeout=2)
    assert poster.post(f"http://127.0.0.1:{port}/", b"{}", {}) == WebhookResponse(
        error="unreachable"
    )
    assert poster.post(f"http://{'a' * 70}.example/", b"{}", {}) == WebhookResponse(
        error="protocol"
    )
