"""Random combinations of everything that origins do: the archive is right, or the job fails."""

from __future__ import annotations

import gzip
import random
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from common.errors import DownloadError
from tests.integration.sources.conftest import Downloads
from tests.support.raw_origin import Request, Step, partial, response

FILES = {
    i: random.Random(i).randbytes(size) for i, size in enumerate((0, 1, 900, 7_000, 30_000), 1)
}
FOREIGN = b"FOREIGN " * 5_000
INTERIM = b"HTTP/1.1 103 Early Hints\r\n\r\n"
#: Endings that a job may have here; everything else is a defect.
CODES = {
    "NETWORK_ERROR", "FILE_CHANGED", "TEMPORARY_UNAVAILABLE", "RATE_LIMIT", "PROCESSING_ERROR",
}  # fmt: skip

Fault = Callable[[Request, bytes, str | None, random.Random], Iterator[Step]]


def correct(request: Request, data: bytes, etag: str | None, _: random.Random) -> Iterator[Step]:
    yield partial(request, data, etag=etag)


def interim(request: Request, data: bytes, etag: str | None, rng: random.Random) -> Iterator[Step]:
    yield INTERIM * rng.choice([1, 2, 30])
    yield partial(request, data, etag=etag)


def ignored_range(_: Request, data: bytes, etag: str | None, __: random.Random) -> Iterator[Step]:
    yield response(data, etag=etag)


def chunked(request: Request, data: bytes, etag: str | None, rng: random.Random) -> Iterator[Step]:
    whole = partial(request, data, etag=etag, content_length=None, transfer_encoding="chunked")
    head, _, body = whole.partition(b"\r\n\r\n")
    yield head + b"\r\n\r\n"
    size = rng.choice([1_000, 20_000])
    for at in range(0, len(body), size):
        block = body[at : at + size]
        yield b"%x\r\n%s\r\n" % (len(block), block)
    yield b"0\r\n\r\n" if rng.random() < 0.8 else None


def broken(request: Request, data: bytes, etag: str | None, rng: random.Random) -> Iterator[Step]:
    whole = partial(request, data, etag=etag)
    yield whole[: rng.randrange(len(whole))]
    yield None


def slow(request: Request, data: bytes, etag: str | None, rng: random.Random) -> Iterator[Step]:
    whole = partial(request, data, etag=etag)
    middle = rng.randrange(len(whole))
    yield whole[:middle]
    yield 0.005
    yield whole[middle:]


def surplus(request: Request, data: bytes, etag: str | None, rng: random.Random) -> Iterator[Step]:
    yield partial(request, data, etag=etag) + rng.choice(
        [b"\r\n", FOREIGN, response(FOREIGN, etag='"f"')]
    )


def shifted(request: Request, data: bytes, etag: str | None, rng: random.Random) -> Iterator[Step]:
    first = max(0, (request.range or (0, 0))[0] + rng.choice([-50, -1, 1, 50]))
    body = data[first : first + rng.choice([1, 3_000, 40_000])]
    if not body:
        yield response(status=416)
        return
    total = rng.choice([str(len(data)), "*", str(len(data) + 1)])
    content_range = f"bytes {first}-{first + len(body) - 1}/{total}"
    yield response(body, 206, etag=etag, content_range=content_range)


def unlabeled(request: Request, data: bytes, etag: str | None, _: random.Random) -> Iterator[Step]:
    yield partial(request, data, etag=etag, content_range=None)


def foreign(request: Request, _: bytes, __: str | None, rng: random.Random) -> Iterator[Step]:
    yield partial(request, FOREIGN, etag=f'"{rng.random()}"')


def error(_: Request, __: bytes, ___: str | None, rng: random.Random) -> Iterator[Step]:
    yield response(FOREIGN, rng.choice([408, 429, 500, 503, 504, 204, 304]), retry_after="0")


def compressed(_: Request, data: bytes, etag: str | None, __: random.Random) -> Iterator[Step]:
    yield response(gzip.compress(data), etag=etag, content_encoding="gzip")


def junk(_: Request, __: bytes, ___: str | None, rng: random.Random) -> Iterator[Step]:
    yield rng.randbytes(300)
    yield None


FAULTS: list[Fault] = [
    correct, interim, ignored_range, chunked, broken, slow, surplus, shifted, unlabeled, foreign,
    error, compressed, junk,
]  # fmt: skip


@pytest.mark.parametrize("seed", range(100))
def test_archive_is_right_or_the_job_fails(download: Downloads, seed: int) -> None:
    rng, lock = random.Random(seed), threading.Lock()
    frequency = rng.choice([0.05, 0.2, 0.5])
    faults = rng.sample(FAULTS, rng.randint(1, len(FAULTS)))

    def serve(request: Request) -> Iterator[Step]:
        file_id = int(request.target.rpartition("/")[2])
        with lock:
            fault = rng.choice(faults) if rng.random() < frequency else correct
            own = random.Random(rng.random())
        return fault(request, FILES[file_id], f'"{file_id}"', own)

    files = download(serve)
    results: list[Any] = []

    def run_job() -> None:
        try:
            results.append(files.archive(*FILES))
        except DownloadError as failed:
            results.append(failed)

    jobs = [threading.Thread(target=run_job) for _ in range(3)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join(60)
    assert len(results) == 3
    for result in results:
        if isinstance(result, DownloadError):
            assert result.code in CODES
        else:
            assert result == {str(file_id): data for file_id, data in FILES.items()}
