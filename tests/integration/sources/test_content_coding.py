"""Content codings that nobody asked for, RFC 9110, 8.4: no compressed bytes in ``table.csv``."""

from __future__ import annotations

import gzip
import random
import zlib
from collections.abc import Iterator

import pytest

from tests.integration.sources.conftest import Downloads
from tests.support.raw_origin import Request, Step, partial, response

CSV = b"".join(b"%d;%d\n" % (i, i * i) for i in range(20_000))
NAMED = {"content_disposition": 'attachment; filename="table.csv"'}


def raw_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush()


@pytest.mark.parametrize(("coding", "coded"), [
    ("gzip", gzip.compress(CSV)),
    ("x-gzip", gzip.compress(CSV)),
    ("GZip", gzip.compress(CSV)),
    ("identity, gzip", gzip.compress(CSV)),
    ("gzip,aws-chunked", gzip.compress(CSV)),
    ("gzip", gzip.compress(CSV[:1_000]) + gzip.compress(CSV[1_000:])),
    ("gzip", gzip.compress(CSV) + b"\0" * 700),
    ("deflate", zlib.compress(CSV)),
    ("deflate", raw_deflate(CSV)),
    ("identity", CSV),
    ("", CSV),
    ("aws-chunked", CSV),
])  # fmt: skip
@pytest.mark.parametrize("ranges", [True, False])
def test_coded_content_is_decoded(
    download: Downloads, coding: str, coded: bytes, ranges: bool
) -> None:
    """RFC 9110, 8.4.1: gzip as in RFC 1952, deflate as in RFC 1950, or without its format."""
    files = download(
        lambda request: (
            partial(request, coded, content_encoding=coding, **NAMED)
            if ranges
            else response(coded, content_encoding=coding, **NAMED)
        )
    )
    assert files.archive() == {"table.csv": CSV}


@pytest.mark.parametrize(("coding", "name", "expected"), [
    ("br", "table.csv", "table.csv.br"),
    ("zstd", "table.csv", "table.csv.zst"),
    ("compress", "table.csv", "table.csv.Z"),
    ("br", "table.csv.br", "table.csv.br"),
    ("gzip", "backup.tar.gz", "backup.tar.gz"),
    ("gzip", "BACKUP.TGZ", "BACKUP.TGZ"),
    ("x-gzip", "drawing.svgz", "drawing.svgz"),
])  # fmt: skip
def test_bytes_that_are_kept_have_a_name_that_says_so(
    download: Downloads, coding: str, name: str, expected: str
) -> None:
    """RFC 9110, 8.4: the coding is a property of what is stored; so is the file's name."""
    body = random.Random(6).randbytes(20_000)
    headers = {"content_disposition": f'attachment; filename="{name}"', "content_encoding": coding}
    files = download(lambda request: partial(request, body, **headers))
    assert files.archive() == {expected: body}


@pytest.mark.parametrize("coding", ["rot13", "gzip, br", "gzip, gzip", "dcb", "*"])
def test_unknown_coding_is_a_clear_error(download: Downloads, coding: str) -> None:
    """RFC 9110, 8.4.1: what cannot be decoded must not be passed off as the file."""
    files = download(lambda request: partial(request, CSV, content_encoding=coding, **NAMED))
    assert files.error() == "PROCESSING_ERROR"
    good = download(
        lambda request: (
            partial(request, CSV, content_encoding=coding, **NAMED)
            if request.target == "/files/1"
            else partial(request, CSV)
        )
    )
    assert good.archive(1, 2, on_missing="skip")["2"] == CSV


@pytest.mark.parametrize("coded", [
    gzip.compress(CSV)[:-100],
    gzip.compress(CSV)[:-2],
    gzip.compress(CSV)[:30] + b"x" * 500,
    b"not compressed at all" * 100,
    gzip.compress(CSV) + gzip.compress(CSV)[:-50],
])  # fmt: skip
def test_damaged_content_is_an_error(download: Downloads, coded: bytes) -> None:
    """RFC 1952, 2.3: length and checksum are part of the format."""
    files = download(lambda _: response(coded, content_encoding="gzip", **NAMED))
    assert files.error() == "PROCESSING_ERROR"


def test_empty_body_with_a_coding_is_an_empty_file(download: Downloads) -> None:
    files = download(lambda _: response(b"", content_encoding="gzip", **NAMED))
    assert files.archive() == {"table.csv": b""}


def test_decoded_size_counts_against_the_limit(download: Downloads) -> None:
    """A few kilobytes can be decoded to gigabytes."""
    bomb = gzip.compress(bytes(200_000_000))
    files = download(lambda _: response(bomb, content_encoding="gzip", **NAMED))
    assert files.error(max_bytes=1_000_000) == "FILE_TOO_LARGE"


def test_coded_content_is_resumed(download: Downloads) -> None:
    """RFC 9110, 14.2: ranges are ranges of the coded content."""
    coded, breaks = gzip.compress(CSV), iter([20_000, 5_000, 9_000])

    def serve(request: Request) -> Iterator[Step]:
        whole = partial(request, coded, content_encoding="gzip", **NAMED)
        if request.is_description or (broken_at := next(breaks, None)) is None:
            yield whole
        else:
            yield whole[:broken_at]
            yield None

    assert download(serve).archive() == {"table.csv": CSV}


def test_coding_that_only_get_has_is_undone(download: Downloads) -> None:
    """RFC 9110, 9.3.2: HEAD may leave out headers that are known only with the content."""
    files = download(
        lambda request: (
            response(CSV, **NAMED)
            if request.is_description
            else response(gzip.compress(CSV), content_encoding="gzip", **NAMED)
        )
    )
    assert files.archive() == {"table.csv": CSV}


def test_coding_that_only_get_has_does_not_change_the_size_that_was_described(
    download: Downloads,
) -> None:
    """RFC 9110, 8.4: Content-Length and ranges are those of the coded content."""
    coded = gzip.compress(CSV)
    chunked = {"content_length": None, "transfer_encoding": "chunked"}
    files = download(
        lambda request: (
            response(CSV, **NAMED)
            if request.is_description
            else response(
                b"%x\r\n%s\r\n0\r\n\r\n" % (len(coded), coded),
                content_encoding="gzip",
                **chunked,
                **NAMED,
            )
        )
    )
    assert files.archive() == {"table.csv": CSV}


@pytest.mark.parametrize("ranges", [True, False])
def test_coded_bytes_are_not_kept_under_a_name_that_was_described_without_a_coding(
    download: Downloads, ranges: bool
) -> None:
    """RFC 9110, 8.4: the name of the file does not say that it is compressed."""
    coded = random.Random(6).randbytes(len(CSV))
    files = download(
        lambda request: (
            (partial(request, CSV, **NAMED) if ranges else response(CSV, **NAMED))
            if request.is_description
            else response(coded, content_encoding="br", **NAMED)
        )
    )
    assert files.error() == "NETWORK_ERROR"


def test_ranges_of_content_that_is_suddenly_coded_are_not_used(download: Downloads) -> None:
    """RFC 9110, 8.8.3.3: a coded representation needs an ETag of its own."""
    files = download(
        lambda request: (
            partial(request, CSV, **NAMED)
            if request.is_description
            else partial(request, gzip.compress(CSV), content_encoding="gzip", **NAMED)
        )
    )
    assert files.error() in ("NETWORK_ERROR", "FILE_CHANGED")
