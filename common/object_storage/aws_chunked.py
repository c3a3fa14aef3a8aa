"""Bodies whose checksum follows their bytes, so that they are sent while they are produced.

The format is ``aws-chunked`` with an unsigned payload and one trailer ("Signature calculations for
trailing headers" in the Amazon S3 API reference); the SDKs of AWS use it for streams.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Final, Protocol

from common.object_storage import s3_xml
from common.object_storage.http_pool import Buffer, StreamedBody

#: The size of each block except the last. S3 requires at least 8 KiB.
BLOCK_SIZE: Final = 256 * 1024


class PartStream(StreamedBody, Protocol):
    """The bytes of a part, in blocks of ``BLOCK_SIZE``, that are produced while they are sent."""

    @property
    def crc32(self) -> int:
        """Return the checksum of the bytes of the last iteration."""


class ChunkedBody:
    """The body of a request that uploads a part stream: one chunk for each of its blocks."""

    def __init__(self, stream: PartStream) -> None:
        self._stream = stream
        self.headers = {
            "content-encoding": "aws-chunked",
            "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
            "x-amz-decoded-content-length": str(len(stream)),
            "x-amz-trailer": "x-amz-checksum-crc32",
        }

    def __len__(self) -> int:
        size = len(self._stream)
        blocks, rest = divmod(size, BLOCK_SIZE)
        framing = blocks * len(_chunk_head(BLOCK_SIZE) + b"\r\n")
        if rest:
            framing += len(_chunk_head(rest) + b"\r\n")
        return size + framing + len(_end(0))

    def __iter__(self) -> Generator[Buffer]:
        for block in self._stream:
            yield _chunk_head(len(block))
            yield block
            yield b"\r\n"
        yield _end(self._stream.crc32)


def _chunk_head(size: int) -> bytes:
    return f"{size:x}\r\n".encode()


def _end(crc32: int) -> bytes:
    return f"0\r\nx-amz-checksum-crc32:{s3_xml.encode_crc32(crc32)}\r\n\r\n".encode()
