"""HTTP/1.1 requests as bytes: what is parsed and what is rejected."""

from __future__ import annotations

import time
from typing import Any

import orjson
import pytest

from api.live.service import available_streams
from api.server import requests, responses
from api.server.requests import ProtocolError, RequestParser

MAX_BODY = 65_536


def new_parser() -> RequestParser:
    return RequestParser(
        requests.base_environ(("10.0.0.1", 5), ("127.0.0.1", 80)), max_body=MAX_BODY
    )


def environs(*pieces: bytes) -> list[dict[str, Any]]:
    """Feed the pieces of a connection; return the WSGI variables of the complete requests."""
    parser = new_parser()
    found = []
    for piece in pieces:
        parser.feed(piece)
        while parser.complete:
            found.append(parser.request.environ)
            parser.start_next()
    return found


def test_request_is_parsed_into_wsgi_variables() -> None:
    (environ,) = environs(
        b"GET /a%20b/%C3%BC?x=%31&y HTTP/1.1\r\nHost: h\r\n"
        b"X-User-Id: al\r\nAccept: a\r\nAccept: b\r\n\r\n"
    )
    assert environ["REQUEST_METHOD"] == "GET"
    assert environ["PATH_INFO"] == "/a b/ü".encode().decode("latin-1")
    assert environ["QUERY_STRING"] == "x=%31&y"
    assert environ["HTTP_X_USER_ID"] == "al"
    assert environ["HTTP_ACCEPT"] == "a,b"
    assert environ["REMOTE_ADDR"] == "10.0.0.1"
    assert environ["SERVER_PROTOCOL"] == "HTTP/1.1"


def test_body_is_read_by_length_or_in_chunks() -> None:
    head = b"POST / HTTP/1.1\r\nHost: h\r\n"
    (plain,) = environs(head + b"Content-Type: text/x\r\nContent-Length: 5\r\n\r\nhe", b"llo")
    (chunked,) = environs(
        head + b"Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n", b"0\r\n\r\n"
    )
    for environ in (plain, chunked):
        assert environ["wsgi.input"].read() == b"hello"
        assert environ["CONTENT_LENGTH"] == "5"
    assert plain["CONTENT_TYPE"] == "text/x"


def test_zeros_before_a_length_are_removed() -> None:
    """RFC 9110, 8.6: any number of digits, and int() rejects more than 4,300."""
    head = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: " + b"0" * 5_000
    (environ,) = environs(head + b"3\r\n\r\nabc")
    assert environ["CONTENT_LENGTH"] == "3"
    assert environ["wsgi.input"].read() == b"abc"


@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
def test_an_empty_line_after_a_body_begins_no_request(end: bytes) -> None:
    """RFC 9112, 2.2."""
    post = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}"
    for pieces in ((post + end,), (post, end)):
        parser = new_parser()
        for piece in pieces:
            parser.feed(piece)
            if parser.complete:
                parser.start_next()
        assert not parser.in_request
        parser.feed(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert parser.request.environ["REQUEST_METHOD"] == "GET"


def test_bytes_that_arrive_one_by_one_are_parsed_the_same() -> None:
    request = b"POST /x?y=z HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nA-b: c\r\n\r\nabc"
    (whole,) = environs(request)
    (pieces,) = environs(*(bytes([byte]) for byte in request))
    assert whole.pop("wsgi.input").read() == pieces.pop("wsgi.input").read() == b"abc"
    assert whole == pieces


def test_pipelined_requests_are_parsed_one_after_the_other() -> None:
    one = b"POST /1 HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab"
    two = b"GET /2 HTTP/1.1\r\nHost: h\r\n\r\n"
    found = environs(one + two + one)
    assert [environ["PATH_INFO"] for environ in found] == ["/1", "/2", "/1"]
    assert found[1]["wsgi.input"].read() == b""


def test_absolute_target_is_reduced_to_its_path() -> None:
    (environ,) = environs(b"GET http://h/p?q HTTP/1.1\r\nHost: h\r\n\r\n")
    assert (environ["PATH_INFO"], environ["QUERY_STRING"]) == ("/p", "q")


def test_header_with_an_underscore_does_not_replace_another() -> None:
    (environ,) = environs(b"GET / HTTP/1.1\r\nHost: h\r\nX_User_Id: eve\r\nX-User-Id: al\r\n\r\n")
    assert environ["HTTP_X_USER_ID"] == "al"


@pytest.mark.parametrize(
    "request_",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\nab\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: +1\r\n\r\na",
        b"GET / HTTP/1.1\r\nHost : h\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\n folded: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nA: b\0c\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nA: b\rc: d\r\n\r\n",
        b"GET / HTTP/9.1\r\nHost: h\r\n\r\n",
        b"GET nowhere HTTP/1.1\r\nHost: h\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
def test_ambiguous_or_malformed_request_is_rejected(request_: bytes) -> None:
    with pytest.raises(ProtocolError) as error:
        assert environs(request_) == []
    assert error.value.status == responses.BAD_REQUEST


@pytest.mark.parametrize(
    ("pieces", "status"),
    [
        # RFC 9112, 3: a target longer than any that the server parses is 414.
        ((b"GET /" + b"a" * 40_000, b"a" * 40_000), responses.URI_TOO_LONG),
        # In one read, too.
        (
            (b"GET / HTTP/1.1\r\nHost: h\r\n" + b"A: %b\r\n" % (b"b" * 1000) * 40 + b"\r\n",),
            responses.HEAD_TOO_LARGE,
        ),
        (
            (b"GET / HTTP/1.1\r\nHost: h\r\nA: ", *[b"b" * 1000] * 40),
            responses.HEAD_TOO_LARGE,
        ),
        (
            (b"GET / HTTP/1.1\r\nHost: h\r\n", *[b"A%d: b\r\n" % n for n in range(200)]),
            responses.HEAD_TOO_LARGE,
        ),
    ],
)
def test_too_large_a_head_is_rejected(pieces: tuple[bytes, ...], status: str) -> None:
    with pytest.raises(ProtocolError) as error:
        environs(*pieces)
    assert error.value.status == status


@pytest.mark.parametrize(
    "pieces",
    [
        (b"Content-Length: 99999999\r\n\r\n", b"abc"),
        (b"Transfer-Encoding: chunked\r\n\r\n", *[b"1000\r\n" + b"x" * 4_096 + b"\r\n"] * 17),
    ],
)
def test_application_sees_only_the_length_of_too_long_a_body(pieces: tuple[bytes, ...]) -> None:
    parser = new_parser()
    parser.feed(b"POST / HTTP/1.1\r\nHost: h\r\n")
    for piece in pieces:
        if not parser.complete:
            parser.feed(piece)
    request = parser.request
    assert request.body_discarded
    assert not request.keep_alive
    assert int(request.environ["CONTENT_LENGTH"]) > MAX_BODY
    assert request.environ["wsgi.input"].read() == b""


@pytest.mark.parametrize("value", ["a\r\nSet-Cookie: b", "a\nb", "a\rb"])
def test_response_header_with_a_line_end_is_not_sent(value: str) -> None:
    with pytest.raises(ValueError, match="line end"):
        responses.head("200 OK", [("X", value)], "")


def test_response_to_a_malformed_request_is_a_complete_problem() -> None:
    head, _, body = responses.error_response(responses.BAD_REQUEST).partition(b"\r\n\r\n")
    problem = orjson.loads(body)
    assert set(problem) == {
        *("type", "title", "status", "detail", "instance", "code", "retryable", "requestId"),
    }
    assert f"X-Request-ID: {problem['requestId']}".encode() in head


def test_long_header_names_are_not_cached() -> None:
    name = b"A" * 1_000
    (environ,) = environs(b"GET / HTTP/1.1\r\nHost: h\r\n" + name + b": b\r\n\r\n")
    assert environ[f"HTTP_{name.decode()}"] == "b"
    assert name not in requests._keys


def test_one_request_is_parsed_at_a_time() -> None:
    parser = new_parser()
    parser.feed(b"GET /1 HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\n\0")
    assert parser.request.environ["PATH_INFO"] == "/1"
    parser.start_next()
    assert parser.request.environ["PATH_INFO"] == "/2"
    with pytest.raises(ProtocolError):
        parser.start_next()


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (responses.BAD_REQUEST, "MALFORMED_REQUEST"),
        (responses.REQUEST_TIMEOUT, "REQUEST_TIMEOUT"),
        (responses.CONTENT_TOO_LARGE, "BODY_TOO_LARGE"),
        (responses.URI_TOO_LONG, "URI_TOO_LONG"),
        (responses.HEAD_TOO_LARGE, "REQUEST_HEADER_FIELDS_TOO_LARGE"),
        (responses.INTERNAL_SERVER_ERROR, "INTERNAL_ERROR"),
        (responses.NOT_IMPLEMENTED, "MALFORMED_REQUEST"),
    ],
)
def test_code_of_a_response_to_a_request_that_never_reached_the_application(
    status: str, code: str
) -> None:
    _, _, body = responses.error_response(status).partition(b"\r\n\r\n")
    assert orjson.loads(body)["code"] == code


def test_tiny_chunks_take_linear_time() -> None:
    parser = new_parser()
    parser.feed(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
    started = time.process_time()
    parser.feed(b"1\r\na\r\n" * 60_000 + b"0\r\n\r\n")
    assert parser.complete
    assert time.process_time() - started < 1


@pytest.mark.parametrize(("limit", "available"), [(1_000_000, 997_500), (5_000, 2_500), (256, 128)])
def test_streams_leave_a_reserve_of_file_descriptors(
    limit: int, available: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda _: (limit, limit))
    assert available_streams() == available
