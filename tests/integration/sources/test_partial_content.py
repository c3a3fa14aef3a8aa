"""Ranges and versions, RFC 9110, 13 to 15: partial content is used only if it is what it seems."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable, Iterator

import pytest

from common.sources import http
from tests.integration.sources.conftest import Downloads
from tests.support.raw_origin import Request, Step, partial, response

DATA = random.Random(2).randbytes(40_000)
OTHER = random.Random(3).randbytes(40_000)
Serve = Callable[[Request], bytes]


def unless_described(serve: Serve) -> Serve:
    """Return an origin that promises ranges, and then behaves like ``serve``."""
    return lambda request: partial(request, DATA) if request.is_description else serve(request)


def piece(content_range: str | None, body: bytes, **headers: object) -> bytes:
    return response(body, 206, content_range=content_range, **headers)


def first_byte(request: Request) -> int:
    return request.range[0] if request.range else 0


def last_byte(request: Request) -> int:
    last = request.range[1] if request.range else None
    return len(DATA) - 1 if last is None else last


def test_ranges_that_are_announced_and_then_ignored_are_cut_out(download: Downloads) -> None:
    """RFC 9110, 14.2: a server may ignore Range; 15.3.1: a 200 is the whole file."""
    files = download(unless_described(lambda _: response(DATA, accept_ranges="bytes")))
    assert files.archive() == {"1": DATA}


def test_another_version_in_place_of_a_range_is_noticed(download: Downloads) -> None:
    """RFC 9110, 13.1.5: If-Range makes a changed file come as a whole."""
    files = download(unless_described(lambda _: response(OTHER, etag='"v2"')))
    assert files.error() == "FILE_CHANGED"


def test_whole_file_of_another_length_is_noticed(download: Downloads) -> None:
    """RFC 9110, 8.8.1: a strong validator changes whenever the content does."""
    files = download(unless_described(lambda _: response(DATA[:-1])))
    assert files.error() == "FILE_CHANGED"


def test_version_that_cannot_be_verified_is_not_used(download: Downloads) -> None:
    """RFC 9110, 15.3.7: a 206 must carry the ETag that a 200 would have had."""
    files = download(unless_described(lambda request: partial(request, DATA, etag=None)))
    assert files.error() == "NETWORK_ERROR"


@pytest.mark.parametrize("content_range", [
    None,
    "",
    "bytes",
    "bytes */40000",
    "bytes 5-4/40000",
    "bytes 0-40000/40000",
    "bytes 0-4/5, bytes 5-9/10",
    "items 0-4/40000",
    "bytes=0-4/40000",
    "bytes -1-4/40000",
    "bytes 0-\u00b2/40000",
])  # fmt: skip
def test_partial_content_without_a_valid_content_range_is_not_used(
    download: Downloads, content_range: str | None
) -> None:
    """RFC 9110, 15.3.7: a 206 must say in Content-Range which part it is."""
    files = download(
        unless_described(
            lambda request: piece(content_range, DATA[first_byte(request) : last_byte(request) + 1])
        )
    )
    assert files.error() == "NETWORK_ERROR"


def test_multiple_parts_in_response_to_one_range_are_not_used(download: Downloads) -> None:
    """RFC 9110, 15.3.7.2: multipart/byteranges is no response to a single range."""
    body = b"--x\r\nContent-Range: bytes 0-4/40000\r\n\r\nabcde\r\n--x--\r\n"
    multiple = piece(None, body, content_type="multipart/byteranges; boundary=x")
    files = download(unless_described(lambda _: multiple))
    assert files.error() == "NETWORK_ERROR"


def test_part_that_starts_too_late_is_not_used(download: Downloads) -> None:
    """RFC 9110, 15.3.7: the part must be inspected, it may not be the requested one."""

    def serve(request: Request) -> bytes:
        first, last = first_byte(request) + 10, last_byte(request)
        return piece(f"bytes {first}-{last}/{len(DATA)}", DATA[first : last + 1])

    assert download(unless_described(serve)).error() == "NETWORK_ERROR"


def test_part_that_starts_too_early_is_cut(download: Downloads) -> None:
    """RFC 9110, 15.3.7: servers may coalesce or extend ranges."""

    def serve(request: Request) -> bytes:
        first = max(0, first_byte(request) - 10)
        last = min(len(DATA) - 1, last_byte(request) + 10)
        return piece(f"bytes {first}-{last}/{len(DATA)}", DATA[first : last + 1])

    assert download(unless_described(serve)).archive() == {"1": DATA}


def test_parts_that_end_too_early_are_continued(download: Downloads) -> None:
    """RFC 9110, 15.3.7: a server may send a subset of the requested range."""

    def serve(request: Request) -> bytes:
        first = first_byte(request)
        last = min(first + 2_999, last_byte(request))
        return piece(f"bytes {first}-{last}/{len(DATA)}", DATA[first : last + 1])

    assert download(unless_described(serve)).archive() == {"1": DATA}


def test_part_of_a_file_with_another_total_is_noticed(download: Downloads) -> None:
    """RFC 9110, 14.4: the complete length belongs to the version that the part is of."""

    def serve(request: Request) -> bytes:
        first, last = first_byte(request), last_byte(request)
        return piece(f"bytes {first}-{last}/99999", DATA[first : last + 1])

    assert download(unless_described(serve)).error() == "FILE_CHANGED"


def test_total_that_the_server_does_not_know_is_no_contradiction(download: Downloads) -> None:
    """RFC 9110, 14.4: ``*`` stands for an unknown complete length."""

    def serve(request: Request) -> bytes:
        first, last = first_byte(request), last_byte(request)
        return piece(f"bytes {first}-{last}/*", DATA[first : last + 1])

    assert download(unless_described(serve)).archive() == {"1": DATA}


def test_part_with_more_or_fewer_bytes_than_it_says_is_not_used(download: Downloads) -> None:
    """RFC 9110, 14.4 and 8.6: Content-Range and Content-Length must agree."""
    for surplus in (-1, 1):

        def serve(request: Request, surplus: int = surplus) -> bytes:
            first, last = first_byte(request), last_byte(request)
            body = DATA[first : last + 1]
            body = body[:surplus] if surplus < 0 else body + b"!"
            return piece(f"bytes {first}-{last}/{len(DATA)}", body)

        assert download(unless_described(serve)).error() == "NETWORK_ERROR"


def test_partial_content_for_a_request_without_a_range_is_not_the_file(
    download: Downloads,
) -> None:
    """RFC 9110, 15.3.7: a 206 is sent for range requests only."""
    files = download(
        lambda request: (
            response(DATA[:50], 206, content_range=f"bytes 0-49/{len(DATA)}")
            if request.range is None
            else response(DATA)
        )
    )
    assert files.error() == "NETWORK_ERROR"


def test_complete_partial_content_without_a_range_is_the_file(download: Downloads) -> None:
    """Some servers send 206 for everything, with a Content-Range that covers all of it."""
    whole = f"bytes 0-{len(DATA) - 1}/{len(DATA)}"
    files = download(
        lambda request: (
            response(DATA, 206, content_range=whole)
            if request.range is None
            else response(status=400)
        )
    )
    assert files.archive() == {"1": DATA}


@pytest.mark.parametrize("refusal", [400, 405, 412, 416, 417, 501])
def test_origin_that_rejects_ranges_is_read_without(download: Downloads, refusal: int) -> None:
    """RFC 9110, 14.2: ranges are optional."""
    files = download(lambda request: response(status=refusal) if request.range else response(DATA))
    assert files.archive() == {"1": DATA}


def test_bad_partial_content_in_the_description_means_no_ranges(download: Downloads) -> None:
    """RFC 9110, 15.3.7: without Content-Range nothing can be learned from a 206."""
    files = download(lambda request: response(DATA[:1], 206) if request.range else response(DATA))
    assert files.archive() == {"1": DATA}


@pytest.mark.parametrize("length", ["0", "7", "999999", None])
def test_length_that_head_gets_wrong_is_not_trusted(
    download: Downloads, length: str | None
) -> None:
    """RFC 9110, 9.3.2 and 8.6: the Content-Length of HEAD should be that of GET, but is not."""
    files = download(
        lambda request: (
            response(content_length=length) if request.method == "HEAD" else partial(request, DATA)
        )
    )
    assert files.archive() == {"1": DATA}


def test_empty_file_is_empty(download: Downloads) -> None:
    """RFC 9110, 15.5.17: a range of an empty file cannot be satisfied."""
    assert download(lambda request: partial(request, b"")).archive() == {"1": b""}


def test_empty_file_does_not_affect_how_the_others_are_read(download: Downloads) -> None:
    """RFC 9110, 15.5.17: a 416 for an empty file does not mean that the source ignores ranges."""
    files = download(lambda r: partial(r, DATA if r.target == "/files/1" else b""))
    assert files.archive(1, 2) == {"1": DATA, "2": b""}
    assert all(r.range for r in files.origin.requests if r.target == "/files/1")


def test_empty_file_without_a_strong_etag_is_read(download: Downloads) -> None:
    """RFC 9110, 8.8.1: nothing shows whether it is still empty."""
    files = download(lambda request: partial(request, b"", etag=None))
    assert files.archive() == {"1": b""}
    assert [r.range for r in files.origin.requests] == [(0, 0), None, None]


def test_file_that_shrinks_is_noticed(download: Downloads) -> None:
    """RFC 9110, 15.5.17: 416 is the response for ranges behind the end."""
    files = download(unless_described(lambda request: partial(request, b"short")))
    assert files.error() == "FILE_CHANGED"


def test_file_that_changes_between_two_requests_is_noticed(download: Downloads) -> None:
    """RFC 9110, 13.1.5: an origin that ignores If-Range shows the change by its ETag only."""
    count = itertools.count()

    def serve(request: Request) -> bytes:
        changed = next(count) > 1
        return partial(request, OTHER if changed else DATA, etag='"v2"' if changed else '"v1"')

    assert download(unless_described(serve)).error() == "FILE_CHANGED"


def test_failed_precondition_is_a_change(download: Downloads) -> None:
    """RFC 9110, 15.5.13."""
    assert download(unless_described(lambda _: response(status=412))).error() == "FILE_CHANGED"


@pytest.mark.parametrize("etag", [None, 'W/"v1"', "v1", '"a"b"', '""x', "*"])
def test_origin_without_a_strong_etag_is_read_in_one_piece(
    download: Downloads, etag: str | None
) -> None:
    """RFC 9110, 8.8.1: weak validators cannot be used for ranges."""
    files = download(lambda request: partial(request, DATA, etag=etag))
    assert files.archive() == {"1": DATA}
    assert [r.range for r in files.origin.requests] == [(0, 0), None]


def test_large_file_is_described_by_its_last_byte_too(
    download: Downloads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RFC 9110, 13.1.5: some origins honor Range, but not together with If-Range."""
    monkeypatch.setattr(http, "MAX_SKIP", 10_000)
    files = download(
        lambda request: response(DATA) if "if-range" in request.headers else partial(request, DATA)
    )
    assert files.archive() == {"1": DATA}
    assert [r.range for r in files.origin.requests] == [(0, 0), (39_999, 39_999), None]


@pytest.mark.parametrize("broken", [0, 1])
def test_connection_that_fails_says_nothing_about_ranges(
    download: Downloads, monkeypatch: pytest.MonkeyPatch, broken: int
) -> None:
    """RFC 9110, 9.2.2: the request is idempotent, so it is sent again."""
    monkeypatch.setattr(http, "MAX_SKIP", 10_000)
    count = itertools.count()

    def serve(request: Request) -> Iterator[Step]:
        # A request on a connection that was used before would be sent again in any case.
        yield None if next(count) == broken else partial(request, DATA, connection="close")

    files = download(serve)
    assert files.archive() == {"1": DATA}
    assert all(r.range for r in files.origin.requests)


def test_servers_with_etags_of_their_own_are_read_in_one_piece(
    download: Downloads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RFC 9110, 8.8.3: servers behind one name should agree on an ETag, but some use inodes."""
    monkeypatch.setattr(http, "MAX_SKIP", 10_000)
    server = itertools.count()
    files = download(lambda request: partial(request, DATA, etag=f'"{next(server)}"'))
    assert files.archive() == {"1": DATA}


def test_unranged_file_is_resumed_by_skipping_what_was_read(download: Downloads) -> None:
    """RFC 9110, 8.8.1: the same strong ETag means the same bytes."""
    breaks = iter([25_000, 31_000])

    def serve(request: Request) -> Iterator[Step]:
        whole = response(DATA)
        if request.is_description or (broken_at := next(breaks, None)) is None:
            yield whole
        else:
            yield whole[:broken_at]
            yield None

    assert download(serve).archive() == {"1": DATA}


def test_files_without_ranges_are_read_several_at_a_time(download: Downloads) -> None:
    """RFC 9112, 9.4: a client may open several connections, within reason."""
    count, most = itertools.count(), [0, 0]
    lock = threading.Lock()

    def serve(request: Request) -> Iterator[Step]:
        if request.is_description:
            yield response(DATA[:3_000], etag=None)
            return
        with lock:
            most[0] += 1
            most[1] = max(most)
        yield 0.1
        with lock:
            most[0] -= 1
        next(count)
        yield response(DATA[:3_000], etag=None)

    files = download(serve)
    assert len(files.archive(*range(1, 33))) == 32
    assert next(count) == 32
    assert 4 <= most[1] <= 9


def test_ranges_are_read_several_at_a_time_within_one_limit_for_memory(
    download: Downloads, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = 20_000
    monkeypatch.setattr("worker.archive.composing.transfers.MAX_BUFFER_BYTES", memory)
    monkeypatch.setattr("worker.archive.composing.writing.MAX_READ_SIZE", 2_000)
    #: The requests and the bytes that are being read, and the maximum of each.
    active, most = [0, 0], [0, 0]
    lock = threading.Lock()

    def count(requests: int, size: int) -> None:
        with lock:
            active[0] += requests
            active[1] += size
            most[:] = map(max, active, most)

    def serve(request: Request) -> Iterator[Step]:
        size = last_byte(request) - first_byte(request) + 1
        if size > 1:
            count(1, size)
            yield 0.02
            count(-1, -size)
        yield partial(request, DATA)

    files = download(serve)
    assert files.archive(1, 2, 3) == dict.fromkeys("123", DATA)
    assert most[0] >= 4
    assert memory / 4 < most[1] <= memory


@pytest.mark.parametrize("etag", ['"v1"', None])
def test_range_with_the_status_200_is_a_range(download: Downloads, etag: str | None) -> None:
    """RFC 9110, 14.4: Content-Range has no meaning there, but some servers mean it."""

    def serve(request: Request) -> bytes:
        return partial(request, DATA, etag=etag).replace(b"HTTP/1.1 206", b"HTTP/1.1 200")

    assert download(serve).archive() == {"1": DATA}


def test_resumed_range_with_the_status_200_is_not_taken_for_the_file(download: Downloads) -> None:
    """RFC 9110, 14.4."""
    breaks = iter([15_000, 9_000])

    def serve(request: Request) -> Iterator[Step]:
        if request.is_description:
            yield response(DATA)
            return
        whole = partial(request, DATA).replace(b"HTTP/1.1 206", b"HTTP/1.1 200")
        broken_at = next(breaks, None)
        yield whole[:broken_at]
        if broken_at is not None:
            yield None

    assert download(serve).archive() == {"1": DATA}


def test_file_that_has_another_size_when_it_is_resumed_is_noticed(download: Downloads) -> None:
    """RFC 9110, 8.8.1: a strong validator changes whenever the content does."""
    breaks = iter([15_000])

    def serve(request: Request) -> Iterator[Step]:
        if request.is_description or (broken_at := next(breaks, None)) is None:
            yield response(DATA if request.is_description else DATA[:-1])
        else:
            yield response(DATA)[:broken_at]
            yield None

    assert download(serve).error() == "FILE_CHANGED"
