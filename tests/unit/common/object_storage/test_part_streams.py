"""Parts that are uploaded while they are produced."""

from __future__ import annotations

import base64
import socket
import threading
import zlib
from collections.abc import Generator, Iterator
from contextlib import closing

import pytest

from common.errors import FileChanged, NetworkError
from common.object_storage import BLOCK_SIZE, BadChecksum, ObjectStorage, StorageProfile
from common.object_storage.aws_chunked import ChunkedBody
from common.object_storage.cancellation import Cancellation
from common.object_storage.http_pool import HttpPool
from tests.support.modeled_s3 import MODELS, ModeledS3

#: Several blocks and a rest, whole blocks, and less than one.
SIZES = [3 * BLOCK_SIZE + 5, 2 * BLOCK_SIZE, 7, 1]


class Stream:
    """A stream that raises ``errors`` one after the other before it succeeds."""

    def __init__(self, content: bytes, *errors: Exception, wrong: bool = False) -> None:
        self._content = content
        self._errors = list(errors)
        self.crc32 = zlib.crc32(content) ^ wrong

    def __len__(self) -> int:
        return len(self._content)

    def __iter__(self) -> Generator[bytes]:
        for start in range(0, len(self), BLOCK_SIZE):
            if start and self._errors:
                raise self._errors.pop()
            yield self._content[start : start + BLOCK_SIZE]


@pytest.fixture
def server() -> Iterator[ModeledS3]:
    with closing(ModeledS3(MODELS["aws"])) as server:
        yield server


@pytest.fixture
def storage(server: ModeledS3, monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStorage]:
    monkeypatch.setattr("common.object_storage.retries.BASE_DELAY", 0.001)
    storage = ObjectStorage(
        endpoint=server.endpoint, region="us-east-1", access_key="a", secret_key="b"
    )
    with closing(storage):
        storage.ensure_bucket("archives")
        yield storage


def upload(storage: ObjectStorage, stream: Stream) -> None:
    upload_id = storage.create_multipart_upload("archives", "key")
    part = storage.upload_part_stream("archives", "key", upload_id, 1, stream)
    assert part.crc32 == stream.crc32
    storage.complete_multipart_upload("archives", "key", upload_id, [part], crc32=part.crc32)


@pytest.mark.parametrize("size", SIZES)
def test_a_chunked_body_has_the_announced_length(size: int) -> None:
    body = ChunkedBody(Stream(b"x" * size))
    sent = b"".join(body)
    assert len(sent) == len(body)
    checksum = base64.b64encode(zlib.crc32(b"x" * size).to_bytes(4, "big"))
    assert sent.endswith(b"\r\n0\r\nx-amz-checksum-crc32:" + checksum + b"\r\n\r\n")


@pytest.mark.parametrize("size", SIZES)
def test_a_part_is_stored_without_its_encoding(
    server: ModeledS3, storage: ObjectStorage, size: int
) -> None:
    upload(storage, Stream(bytes(range(256)) * (size // 256 + 1)))
    stored = server.buckets["archives"]["key"].data
    assert stored == bytes(range(256)) * (size // 256 + 1)


def test_a_part_with_a_wrong_checksum_is_rejected(storage: ObjectStorage) -> None:
    with pytest.raises(BadChecksum):
        upload(storage, Stream(b"content", wrong=True))


def test_a_part_is_rejected_if_the_response_has_no_checksum_or_another(
    storage: ObjectStorage,
) -> None:
    storage.profile = StorageProfile(returns_part_crc32=True)
    with pytest.raises(BadChecksum):
        upload(storage, Stream(b"content"))


def test_a_stream_that_breaks_is_produced_again(server: ModeledS3, storage: ObjectStorage) -> None:
    content = b"x" * (2 * BLOCK_SIZE)
    upload(storage, Stream(content, NetworkError(), NetworkError()))
    assert server.buckets["archives"]["key"].data == content


def test_a_permanent_error_of_a_stream_ends_the_upload(storage: ObjectStorage) -> None:
    with pytest.raises(FileChanged):
        upload(storage, Stream(b"x" * (2 * BLOCK_SIZE), FileChanged()))


def test_what_a_stream_reads_from_is_closed_as_soon_as_the_upload_fails() -> None:
    listener, ended = socket.create_server(("127.0.0.1", 0)), threading.Event()

    def refuse() -> None:
        while not ended.is_set():
            listener.accept()[0].close()

    class Endless:
        closed = 0

        def __len__(self) -> int:
            return 2**40

        def __iter__(self) -> Generator[bytes]:
            try:
                while True:
                    yield bytes(BLOCK_SIZE)
            finally:
                self.closed += 1

    threading.Thread(target=refuse, daemon=True).start()
    pool, body = HttpPool(f"http://127.0.0.1:{listener.getsockname()[1]}"), Endless()
    try:
        pool.request("PUT", "/", {}, body, cancellation=Cancellation()).__enter__()
    except NetworkError:
        # The error still refers to all frames.
        assert body.closed == 1
    else:
        pytest.fail("the request succeeded")
    finally:
        ended.set()
        listener.close()
