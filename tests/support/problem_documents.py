"""Requests that nginx rejects on every server, and what its responses must look like."""

from __future__ import annotations

import json
import socket
from typing import Final

#: Request, status and code.
ERRORS_OF_NGINX: Final = (
    (b"GET /a%zz HTTP/1.1\r\nHost: x\r\n\r\n", 400, "MALFORMED_REQUEST"),
    (b"NONSENSE\r\n\r\n", 400, "MALFORMED_REQUEST"),
    (b"GET / HTTP/1.1\r\n\r\n", 400, "MALFORMED_REQUEST"),
    (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400, "MALFORMED_REQUEST"),
    (
        b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"x" * 17_000 + b"\r\n\r\n",
        431,
        "REQUEST_HEADER_FIELDS_TOO_LARGE",
    ),
    (b"GET /" + b"x" * 17_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414, "URI_TOO_LONG"),
    (b"TRACE / HTTP/1.1\r\nHost: x\r\n\r\n", 405, "METHOD_NOT_ALLOWED"),
)


def exchange(port: int, request: bytes) -> tuple[bytes, bytes]:
    """Send a request that no HTTP client would send; return head and body of the response."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        client.sendall(request)
        client.shutdown(socket.SHUT_WR)
        head, _, body = client.makefile("rb").read().partition(b"\r\n\r\n")
    return head, body


def check_problem(head: bytes, body: bytes, status: int, code: str) -> None:
    """Fail unless the response is a problem (RFC 9457) with the common headers."""
    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"\r\nContent-Type: application/problem+json\r\n" in head
    assert b"\r\nX-Content-Type-Options: nosniff\r\n" in head
    problem = json.loads(body)
    assert (problem["status"], problem["code"]) == (status, code)
    assert f"\r\nX-Request-ID: {problem['requestId']}\r\n".encode() in head
