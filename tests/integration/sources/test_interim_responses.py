"""Interim responses, RFC 9110, 15.2: a client reads past them, and never mistakes their order."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator

import pytest

from common.http_connection import MAX_INTERIM_RESPONSES
from tests.integration.sources.conftest import Downloads
from tests.support.raw_origin import Request, Step, partial

DATA = random.Random(1).randbytes(40_000)
EARLY_HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"
PROCESSING = b"HTTP/1.1 102 Processing\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@pytest.mark.parametrize("interim", [
    EARLY_HINTS,
    PROCESSING * 3,
    CONTINUE + PROCESSING + EARLY_HINTS * 2,
    b"HTTP/1.1 199 Unheard of\r\nContent-Length: 5\r\n\r\n",
    EARLY_HINTS * MAX_INTERIM_RESPONSES,
])  # fmt: skip
def test_any_interim_response_is_skipped(download: Downloads, interim: bytes) -> None:
    """RFC 9110, 15.2: a client must be able to parse one or more 1xx responses."""
    files = download(lambda request: interim + partial(request, DATA))
    assert files.archive() == {"1": DATA}


def test_final_response_may_follow_an_interim_one_later(download: Downloads) -> None:
    """RFC 8297, 2: early hints are sent while the response is still being prepared."""

    def serve(request: Request) -> Iterator[Step]:
        yield EARLY_HINTS[:10]
        yield 0.05
        yield EARLY_HINTS[10:]
        yield 0.1
        yield partial(request, DATA)

    assert download(serve).archive() == {"1": DATA}


def test_endless_interim_responses_end_the_attempt(download: Downloads) -> None:
    """RFC 9110, 15.2 sets no limit; ours is ``MAX_INTERIM_RESPONSES``."""

    def serve(request: Request) -> Iterator[Step]:
        if not request.is_description:
            while True:
                yield EARLY_HINTS
        yield partial(request, DATA)

    assert download(serve).error() == "NETWORK_ERROR"


def test_protocol_switch_that_was_not_requested_is_an_error(download: Downloads) -> None:
    """RFC 9110, 15.2.2: a server switches protocols only to one that the client asked for."""
    switched = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
    files = download(
        lambda request: (
            partial(request, DATA) if request.is_description else switched + partial(request, DATA)
        )
    )
    assert files.error() == "NETWORK_ERROR"


def test_interim_responses_never_give_one_users_bytes_to_another(download: Downloads) -> None:
    """RFC 9112, 9.3.2: responses on a connection belong to requests in their order."""
    contents = {file_id: random.Random(file_id).randbytes(12_000) for file_id in range(1, 121)}

    def serve(request: Request) -> bytes:
        file_id = int(request.target.rpartition("/")[2])
        interim = (b"", EARLY_HINTS, PROCESSING * 2)[file_id % 3]
        return interim + partial(request, contents[file_id], etag=f'"{file_id}"')

    files = download(serve)
    archives: dict[int, dict[str, bytes]] = {}

    def run_job(user: int) -> None:
        ids = range(1 + 10 * user, 11 + 10 * user)
        for _ in range(3):
            archives[user] = files.archive(*ids)
            assert archives[user] == {str(file_id): contents[file_id] for file_id in ids}

    users = [threading.Thread(target=run_job, args=(user,)) for user in range(12)]
    for thread in users:
        thread.start()
    for thread in users:
        thread.join(90)
    for user in range(12):
        ids = range(1 + 10 * user, 11 + 10 * user)
        assert archives[user] == {str(file_id): contents[file_id] for file_id in ids}
    # Connections were shared: this is what made the mix-up possible.
    assert files.origin.connections < len(files.origin.requests) / 2
