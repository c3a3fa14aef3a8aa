"""urllib3's connections with responses that it cannot read by itself."""

from __future__ import annotations

import http.client
import socket

import pytest
from urllib3.exceptions import ProtocolError

from common.http_connection import FinalResponse, InvalidResponse, pool_manager
from tests.support.raw_origin import RawOrigin, response

EARLY_RESPONSE = b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n"


def test_pooled_connection_is_in_step_after_interim_responses() -> None:
    """RFC 9110, 15.2."""
    bodies = [b"one", b"two", b"three"]
    remaining = iter(bodies)
    origin = RawOrigin(lambda _: EARLY_RESPONSE * 2 + response(next(remaining)))
    pool = pool_manager(retries=False)
    try:
        assert [pool.request("GET", origin.url).data for _ in bodies] == bodies
        assert origin.connections == 1
    finally:
        pool.clear()
        origin.close()


def test_response_to_head_has_no_body() -> None:
    """RFC 9112, 6.3, item 1."""
    origin = RawOrigin(lambda _: EARLY_RESPONSE + response(content_length=5))
    pool = pool_manager(retries=False)
    try:
        for _ in range(3):
            head = pool.request("HEAD", origin.url)
            assert (head.status, head.data) == (200, b"")
        assert origin.connections == 1
    finally:
        pool.clear()
        origin.close()


@pytest.mark.parametrize(("sent", "excess"), [
    (response(b"12345"), False),
    (response(b"12345") + b"6", True),
    (EARLY_RESPONSE + response(b"12345") + response(), True),
])  # fmt: skip
def test_excess_is_noticed_when_a_response_is_closed(sent: bytes, excess: bool) -> None:
    """RFC 9112, 6.3."""
    server, client = socket.socketpair()
    with server, client:
        client.settimeout(5)
        server.sendall(sent)
        message = FinalResponse(client, method="GET")
        message.begin()
        assert message.read(5) == b"12345"
        message.close()
        assert message.has_excess is excess


def test_malformed_response_is_an_http_exception() -> None:
    """It is handled like all other errors of http.client and urllib3."""
    assert issubclass(InvalidResponse, http.client.HTTPException)
    origin = RawOrigin(lambda _: b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
    pool = pool_manager(retries=False)
    try:
        with pytest.raises(ProtocolError):
            pool.request("GET", origin.url)
    finally:
        pool.clear()
        origin.close()
