"""Where responses begin and end, RFC 9112: what is ambiguous is an error, never a guess."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

import pytest

from common.errors import FileChanged, NetworkError
from common.sources import http_connections
from tests.integration.sources.conftest import Downloads
from tests.support.raw_origin import Request, Step, partial, response

DATA = random.Random(4).randbytes(30_000)
OK = b"HTTP/1.1 200 OK\r\n"


def chunked(data: bytes, size: int = 1_000) -> bytes:
    blocks = (data[at : at + size] for at in range(0, len(data), size))
    return b"".join(b"%x\r\n%s\r\n" % (len(block), block) for block in blocks)


def whole(body: bytes, **headers: object) -> bytes:
    return response(body, **{"content_length": None, **headers})


@pytest.mark.parametrize("body", [
    chunked(DATA) + b"0\r\n\r\n",
    chunked(DATA, 7_777) + b"0\r\n\r\n",
    chunked(DATA).replace(b"3e8\r\n", b"3E8;name=value\r\n") + b"000\r\nTrailer: x\r\n\r\n",
])  # fmt: skip
def test_chunked_body_is_decoded(download: Downloads, body: bytes) -> None:
    """RFC 9112, 7.1: chunk extensions and trailers are ignored."""
    files = download(lambda _: whole(body, transfer_encoding="chunked"))
    assert files.archive() == {"1": DATA}


@pytest.mark.parametrize("body", [
    chunked(DATA),
    chunked(DATA)[:-3],
    chunked(DATA[:500]) + b"5\r\nab",
    chunked(DATA[:500]) + b"-5\r\nabcde\r\n0\r\n\r\n",
    chunked(DATA[:500]) + b"+5\r\nabcde\r\n0\r\n\r\n",
    chunked(DATA[:500]) + b"0x5\r\nabcde\r\n0\r\n\r\n",
    chunked(DATA[:500]) + b"0_5\r\nabcde\r\n0\r\n\r\n",
    chunked(DATA[:500]) + b"\r\nabcde\r\n0\r\n\r\n",
    chunked(DATA[:500]) + b"not a chunk\r\n",
    b"",
])  # fmt: skip
def test_chunked_body_that_is_cut_off_or_malformed_is_an_error(
    download: Downloads, body: bytes
) -> None:
    """RFC 9112, 8: a chunked body without its last chunk is incomplete."""

    def serve(_: Request) -> Iterator[Step]:
        yield whole(body, etag=None, transfer_encoding="chunked")
        yield None

    assert download(serve).error() == "NETWORK_ERROR"


def test_body_that_is_shorter_than_announced_is_an_error(download: Downloads) -> None:
    """RFC 9112, 8: a body shorter than Content-Length is incomplete."""

    def serve(_: Request) -> Iterator[Step]:
        yield response(DATA, content_length=len(DATA) + 1)
        yield None

    assert download(serve).error() == "NETWORK_ERROR"


def test_body_that_ends_with_its_connection_is_read_to_the_end(download: Downloads) -> None:
    """RFC 9112, 6.3, item 8."""

    def serve(_: Request) -> Iterator[Step]:
        yield b"HTTP/1.0 200 OK\r\n\r\n" + DATA
        yield None

    assert download(serve).archive() == {"1": DATA}


@pytest.mark.parametrize("headers", [
    {"content_length": "30000, 30001"},
    {"content_length": "+30000"},
    {"content_length": "-1"},
    {"content_length": "30_000"},
    {"content_length": "0x7530"},
    {"content_length": "\u00b2"},
    {"content_length": "30000\r\nContent-Length: 10"},
    {"content_length": "9" * 19},
    {"transfer_encoding": "gzip, chunked"},
    {"transfer_encoding": "chunked, chunked"},
    {"transfer_encoding": "identity"},
    {"transfer_encoding": "xchunked"},
])  # fmt: skip
def test_ambiguous_length_is_an_error(download: Downloads, headers: dict[str, str]) -> None:
    """RFC 9112, 6.3, items 3 to 5."""
    assert download(lambda _: whole(DATA, **headers)).error() == "NETWORK_ERROR"


def test_zeros_before_a_length_mean_nothing(download: Downloads) -> None:
    """RFC 9110, 8.6."""
    files = download(lambda _: whole(DATA, content_length="0" * 5_000 + "30000"))
    assert files.archive() == {"1": DATA}


def test_length_that_is_repeated_is_no_contradiction(download: Downloads) -> None:
    """RFC 9112, 6.3, item 5: a list of equal values counts as one."""
    files = download(lambda _: whole(DATA, content_length="30000, 30000"))
    assert files.archive() == {"1": DATA}


def test_connection_with_two_kinds_of_length_is_not_used_again(download: Downloads) -> None:
    """RFC 9112, 6.3, item 3: chunked wins; it may be an attempt to smuggle a response."""
    body = chunked(DATA) + b"0\r\n\r\n"
    files = download(lambda _: whole(body, transfer_encoding="chunked", content_length=7))
    assert files.archive(1, 2) == {"1": DATA, "2": DATA}
    assert files.origin.connections == len(files.origin.requests)


@pytest.mark.parametrize("etags", [True, False])
def test_surplus_bytes_never_become_the_next_response(download: Downloads, etags: bool) -> None:
    """RFC 9112, 6.3: a client must not process such data as a separate response."""
    foreign = response(b"FOREIGN" * 1_000)

    def serve(request: Request) -> bytes:
        file_id = request.target.rpartition("/")[2]
        etag = f'"{file_id}"' if etags else None
        return partial(request, file_id.encode() * 9_000, etag=etag) + foreign

    members = download(serve).archive(*range(1, 9))
    assert members == {str(i): str(i).encode() * 9_000 for i in range(1, 9)}


@pytest.mark.parametrize("pause", [0.0, 0.01, 0.05])
def test_surplus_bytes_that_come_late_never_get_into_an_archive(
    download: Downloads, pause: float
) -> None:
    """RFC 9112, 6.3: on a connection that is in use again, only the ETag shows the mistake."""
    foreign = response(b"FOREIGN" * 1_000)

    def serve(request: Request) -> Iterator[Step]:
        file_id = request.target.rpartition("/")[2]
        yield partial(request, file_id.encode() * 9_000, etag=f'"{file_id}"')
        yield pause
        yield foreign

    files = download(serve)
    try:
        members = files.archive(*range(1, 9))
    except (FileChanged, NetworkError):
        return
    assert members == {str(i): str(i).encode() * 9_000 for i in range(1, 9)}


def test_response_that_nobody_requested_closes_the_idle_connection(download: Downloads) -> None:
    """RFC 9110, 15.5.9: a server may send 408 on an idle connection before it closes it."""
    timed_out = response(status=408, connection="close")

    def serve(request: Request) -> Iterator[Step]:
        yield partial(request, DATA)
        yield 0.02
        yield timed_out
        yield None

    files = download(serve)
    for _ in range(3):
        assert files.archive() == {"1": DATA}
        time.sleep(0.1)


def test_connection_that_closes_when_it_is_used_again_is_replaced(download: Downloads) -> None:
    """RFC 9112, 9.3.1: a request on a reused connection that was closed is repeated."""
    count = iter(range(1_000))

    def serve(request: Request) -> Iterator[Step]:
        if next(count) % 2:
            yield None
        yield partial(request, DATA)

    assert download(serve).archive() == {"1": DATA}


@pytest.mark.parametrize("head", [
    b"garbage\r\n\r\n",
    b"\x00\x01\x02\x03",
    b"ICY 200 OK\r\n\r\n",
    b"HTTP/2 200\r\n\r\n",
    b"HTTP/1.1 2000 OK\r\n\r\n",
    b"HTTP/1.1 99 Low\r\n\r\n",
    b"HTTP/1.1\r\n\r\n",
    b"",
    OK + b"no colon\r\nContent-Length: 5\r\n\r\n",
    OK + b"Content-Length : 5\r\n\r\n",
    OK + b" folded: first\r\nContent-Length: 5\r\n\r\n",
    OK + b"X: a\rContent-Length: 3\r\n\r\n",
    OK + b"X: a\x00b\r\nContent-Length: 5\r\n\r\n",
    OK + b"X: y\r\n" * 1_000 + b"\r\n",
    OK + b"X: " + b"y" * 100_000 + b"\r\n\r\n",
    OK + (b"X: " + b"y" * 60_000 + b"\r\n") * 10 + b"\r\n",
])  # fmt: skip
def test_head_that_parsers_could_disagree_on_is_an_error(download: Downloads, head: bytes) -> None:
    """RFC 9112, 2 to 5: bare CR, NUL, blanks before the colon, junk, floods, HTTP/0.9."""

    def serve(_: Request) -> Iterator[Step]:
        yield head + b"abcde"
        yield None

    assert download(serve).error() == "NETWORK_ERROR"


def test_old_forms_that_every_parser_reads_alike_are_accepted(download: Downloads) -> None:
    """RFC 9112, 2.2 and 5.2: lines that end in LF, and values that are folded."""
    head = b'HTTP/1.1 200 OK\nContent-Disposition: attachment;\n filename="a b.txt"\n'
    files = download(lambda _: head + b"Content-Length: %d\n\n" % len(DATA) + DATA)
    assert files.archive() == {"a b.txt": DATA}


def test_names_are_read_as_bytes(download: Downloads) -> None:
    """RFC 9110, 5.5: the bytes from 0x80 are opaque, also 0x85, which ends lines in Unicode."""
    name = "хлеб 全部 Łąka محمد.txt"
    raw = name.encode().decode("latin-1")
    files = download(lambda _: response(DATA, content_disposition=f'attachment; filename="{raw}"'))
    assert files.archive() == {name: DATA}


def test_endless_header_is_cut_off(download: Downloads) -> None:
    """RFC 9110, 5.4: a client sets its own limits."""

    def serve(_: Request) -> Iterator[Step]:
        yield OK + b"X: "
        while True:
            yield b"y" * 1_000

    assert download(serve).error() == "NETWORK_ERROR"


def test_endless_trailer_is_cut_off(download: Downloads) -> None:
    """RFC 9112, 7.1.2."""

    def serve(_: Request) -> Iterator[Step]:
        yield whole(chunked(DATA) + b"0\r\n", etag=None, transfer_encoding="chunked")
        while True:
            yield b"X: y\r\n" * 1_000

    assert download(serve).error() == "NETWORK_ERROR"


def test_head_that_trickles_is_given_up(
    download: Downloads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RFC 9112, 9.5: a client decides how long it waits, in total and not between two bytes."""
    monkeypatch.setattr(http_connections, "READ_TIMEOUT", 0.3)

    def serve(_: Request) -> Iterator[Step]:
        for byte in OK + b"X: " + b"y" * 1_000:
            yield bytes([byte])
            yield 0.05

    began = time.monotonic()
    assert download(serve).error() == "NETWORK_ERROR"
    assert time.monotonic() - began < 20


@pytest.mark.parametrize(("status", "code"), [
    (201, "NETWORK_ERROR"),
    (202, "TEMPORARY_UNAVAILABLE"),
    (204, "NETWORK_ERROR"),
    (205, "NETWORK_ERROR"),
    (207, "NETWORK_ERROR"),
    (300, "NETWORK_ERROR"),
    (304, "NETWORK_ERROR"),
    (305, "NETWORK_ERROR"),
    (400, "INVALID_FILE_ID"),
    (401, "PERMISSION_DENIED"),
    (403, "PERMISSION_DENIED"),
    (404, "FILE_NOT_FOUND"),
    (410, "FILE_NOT_FOUND"),
    (421, "NETWORK_ERROR"),
    (422, "INVALID_FILE_ID"),
    (425, "TEMPORARY_UNAVAILABLE"),
    (429, "RATE_LIMIT"),
    (451, "PERMISSION_DENIED"),
    (500, "TEMPORARY_UNAVAILABLE"),
    (503, "TEMPORARY_UNAVAILABLE"),
    (505, "NETWORK_ERROR"),
    (599, "NETWORK_ERROR"),
    (999, "NETWORK_ERROR"),
])  # fmt: skip
def test_no_other_status_is_taken_for_the_file(download: Downloads, status: int, code: str) -> None:
    """RFC 9110, 15: only 200, 203 and 206 carry a file."""
    assert download(lambda _: response(b"not the file", status)).error() == code


def test_transformed_file_is_a_file(download: Downloads) -> None:
    """RFC 9110, 15.3.4: 203 is a 200 that a proxy transformed."""
    assert download(lambda _: response(DATA, 203)).archive() == {"1": DATA}
