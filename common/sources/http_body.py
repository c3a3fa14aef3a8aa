"""The bodies of responses: which bytes of a file they contain, and what to do when they break."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Final

from common.errors import (
    DownloadError,
    FileChanged,
    NetworkError,
    SourceRateLimited,
    TemporaryUnavailable,
)
from common.object_storage import Cancellation
from common.object_storage.retries import retry
from common.sources.content_coding import Decoder, needs_decoding
from common.sources.files import SourceFile
from common.sources.http_connections import SourceResponse

BLOCK: Final = 256 * 1024
#: Errors that may not occur again.
RETRYABLE_ERRORS: Final = (NetworkError, TemporaryUnavailable, SourceRateLimited)


@dataclass(frozen=True, slots=True)
class ContentRange:
    """The value of Content-Range, RFC 9110, 14.4."""

    first: int
    last: int
    total: int | None

    @property
    def is_complete(self) -> bool:
        return self.first == 0 and self.total is not None and self.last == self.total - 1

    @classmethod
    def parse(cls, text: str | None) -> ContentRange | None:
        """Return None for a missing or invalid value."""
        match = _CONTENT_RANGE.fullmatch((text or "").strip())
        if match is None:
            return None
        first, last = int(match[1]), int(match[2])
        total = None if match[3] == "*" else int(match[3])
        if last < first or (total is not None and last >= total):
            return None
        return cls(first, last, total)


_CONTENT_RANGE: Final = re.compile(r"bytes +(\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", re.ASCII | re.I)


class Body:
    """The requested part of a response's body."""

    def __init__(
        self,
        response: SourceResponse,
        *,
        skip: int,
        length: int | None,
        total: int | None,
        is_partial: bool,
        coding: str | None,
    ) -> None:
        self._response = response
        self._skip = skip
        #: Bytes that are still to come; None: until the source ends the body.
        self._left = length
        #: Size of the whole file, as this response says.
        self.total = total
        self.is_partial = is_partial
        self.coding = coding

    def read(self, limit: int) -> bytes:
        """Return at most ``limit`` bytes as they arrive; nothing at the end.

        Raise NetworkError if the body ends too early.
        """
        while self._skip:
            skipped = self._response.read(min(BLOCK, self._skip))
            if not skipped:
                raise NetworkError("The source sent less than it announced")
            self._skip -= len(skipped)
        if self._left == 0:
            return b""
        block = self._response.read(limit if self._left is None else min(limit, self._left))
        if self._left is not None:
            if not block:
                raise NetworkError("The source sent less than it announced")
            self._left -= len(block)
        return block


class WholeFile:
    """A whole file, decoded, over as many connections as it takes."""

    def __init__(
        self,
        file: SourceFile,
        connect: Callable[[int], AbstractContextManager[Body]],
        connection: ExitStack,
        cancellation: Cancellation,
    ) -> None:
        """``connection`` closes the current connection."""
        self._file = file
        self._connect = connect
        self._connection = connection
        self._cancellation = cancellation
        self._position = 0
        self._opened_at = 0
        #: Size of the coded content; None while it is unknown.
        self._total: int | None = None
        self._body: Body | None = None
        self._coding: str | None = None
        self._unread = b""
        self._decoder: Decoder | None = None

    def read(self, limit: int) -> bytes:
        """Return at most ``limit`` bytes; nothing at the end of the file."""
        if self._position == 0:
            # The first response decides whether the content has to be decoded.
            self._unread = self._next_block()
            if needs_decoding(self._coding, self._file.name):
                self._decoder = Decoder(self._coding or "", self._read_coded)
        return self._decoder.read(limit) if self._decoder else self._read_coded(limit)

    def _read_coded(self, limit: int) -> bytes:
        if not self._unread:
            self._unread = self._next_block()
        block, self._unread = self._unread[:limit], self._unread[limit:]
        return block

    def _next_block(self) -> bytes:
        try:
            return retry(
                self._receive,
                self._cancellation,
                budget=self._cancellation.source_retries,
                progress=lambda: self._position,
                on=RETRYABLE_ERRORS,
            )
        except _CannotResume:
            raise NetworkError("The connection broke, and the source cannot resume it") from None

    def _receive(self) -> bytes:
        body = self._body or self._open_body()
        try:
            block = body.read(BLOCK)
        except DownloadError:
            self._close_body()
            raise
        self._position += len(block)
        total = self._file_size(body.coding) if body.total is None else body.total
        if block or total in (None, self._position):
            return block
        self._close_body()
        if body.is_partial and self._position > self._opened_at:
            # Sources may send less than the requested range: the rest is the next request's.
            return self._receive()
        raise NetworkError("The source sent less than it announced")

    def _file_size(self, coding: str | None) -> int | None:
        """Return the size that the body must have, if the description says it."""
        # The size was that of the file without the coding (RFC 9110, 8.4).
        return None if needs_decoding(coding, self._file.name) else self._file.size

    def _open_body(self) -> Body:
        if self._position and self._file.etag is None:
            raise _CannotResume
        body = self._connection.enter_context(self._connect(self._position))
        if self._position and (
            body.coding != self._coding or body.total not in (None, self._total or body.total)
        ):
            raise FileChanged
        self._total = body.total or self._total
        self._body, self._coding, self._opened_at = body, body.coding, self._position
        return body

    def _close_body(self) -> None:
        self._body = None
        self._connection.close()


class _CannotResume(Exception):
    """The source can only be read from the beginning, and what was read is in use already."""


def is_partial(response: SourceResponse) -> bool:
    """Return whether the body is a part of the file; some servers send one with the status 200."""
    content_range = response.headers.get("content-range")
    return response.status == 206 or ContentRange.parse(content_range) is not None


def sent_range(
    file: SourceFile, response: SourceResponse, *, asked: bool
) -> tuple[int, int | None]:
    """Return the first and last position in the body; None for the last if it is unknown.

    Raise NetworkError for a 206 that must not be used, RFC 9110, 15.3.7.
    """
    if not is_partial(response):
        if file.ranged and response.length not in (None, file.size):
            raise FileChanged
        return 0, None if response.length is None else response.length - 1
    sent = ContentRange.parse(response.headers.get("content-range"))
    if sent is None or not (asked or sent.is_complete):
        raise NetworkError("The source sent a part of the file without saying which")
    if file.ranged and sent.total not in (None, file.size):
        raise FileChanged
    if response.length not in (None, sent.last - sent.first + 1):
        raise NetworkError("The source sent a part of the file with the wrong length")
    return sent.first, sent.last


def total_size(response: SourceResponse) -> int | None:
    """Return the size of the whole file, if the response contains it."""
    if not is_partial(response):
        return response.length
    sent = ContentRange.parse(response.headers.get("content-range"))
    return None if sent is None else sent.total


def check_version(file: SourceFile, response: SourceResponse, *, is_whole: bool) -> None:
    """Raise FileChanged for another version, NetworkError if the version cannot be verified.

    ``is_whole``: the response is used without parts of others, so a weak ETag is enough.
    """
    etag = response.headers.get("etag")
    if file.etag is None or etag == file.etag:
        return
    if etag is not None and etag.removeprefix("W/") != file.etag:
        raise FileChanged
    if etag is None or not is_whole:
        raise NetworkError("The source does not say which version of the file it sent")
