"""Files from HTTP and HTTPS servers, which may be slow, flaky, and wrong about themselves."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import unquote, urlsplit

from common.errors import (
    DownloadError,
    FileChanged,
    InvalidFileId,
    NetworkError,
    PermanentDownloadError,
    SourceRateLimited,
    TemporaryUnavailable,
)
from common.object_storage import Cancellation
from common.object_storage.content_disposition import parse_filename
from common.object_storage.transport import retry
from common.sources.base import Fill
from common.sources.content_coding import (
    Decoder,
    coded_name,
    needs_decoding,
    parse_coding,
)
from common.sources.files import FileDescription, Missing, SourceFile
from common.sources.http_client import HttpClient, SourceResponse
from common.task_group import TaskGroup

BLOCK: Final = 256 * 1024
#: Files that are described at the same time.
MAX_CONCURRENT_REQUESTS: Final = 16
#: Bytes that are skipped if a source responds to a range with the whole file. For larger files,
#: ``describe`` checks that ranges work.
MAX_SKIP: Final = 16 * 1024 * 1024

#: Errors that may not occur again.
RETRYABLE_ERRORS = (NetworkError, TemporaryUnavailable, SourceRateLimited)


class HttpSource:
    """Files behind a URL with ``{file_id}`` in its path or query; its host is fixed."""

    def __init__(
        self,
        template: str,
        *,
        redirect_hosts: frozenset[str] = frozenset(),
        authorization: str | None = None,
    ) -> None:
        """``authorization`` is the value of that header, sent to the template's own host only."""
        parts = urlsplit(template)
        if "{" in parts.netloc or parts.username is not None:
            raise ValueError("SOURCE_URL_TEMPLATE must name one host, without credentials")
        self._template = template
        self._client = HttpClient(
            origin=f"{parts.scheme}://{parts.netloc}",
            redirect_hosts=redirect_hosts,
            authorization=authorization,
        )

    def close(self) -> None:
        """Close the idle connections."""
        self._client.close()

    def url(self, file_id: int) -> str:
        """Return the URL of a file."""
        return self._template.format(file_id=file_id)

    def describe(
        self,
        file_ids: Sequence[int],
        task_group: TaskGroup,
        *,
        cached: Mapping[int, SourceFile],  # noqa: ARG002  HTTP has no listing to compare with
    ) -> list[FileDescription]:
        """Return one description for each id; raise errors that are not about a single file."""
        descriptions: dict[int, FileDescription] = {}
        cancellation = task_group.cancellation

        def describe(file_id: int) -> None:
            try:
                descriptions[file_id] = retry(
                    lambda: self._describe(file_id, cancellation),
                    cancellation,
                    on=RETRYABLE_ERRORS,
                )
            except PermanentDownloadError as error:
                descriptions[file_id] = Missing.because_of(error, file_id)

        width = min(MAX_CONCURRENT_REQUESTS, len(file_ids))
        task_group.each(describe, file_ids, concurrency=width)
        return [descriptions[file_id] for file_id in file_ids]

    def read_into(
        self,
        file: SourceFile,
        view: memoryview,
        *,
        start: int,
        cancellation: Cancellation,
        progress: Callable[[int], None],
    ) -> None:
        """Fill ``view`` from ``start`` on; a broken connection is resumed where it broke."""
        done = 0

        def attempt() -> None:
            nonlocal done
            while done < len(view):
                done_before, end = done, start + len(view)
                with self._open_range(file, start + done, end, cancellation) as body:
                    while block := body.read(BLOCK):
                        view[done : done + len(block)] = block
                        done += len(block)
                        progress(len(block))
                if done == done_before:
                    raise NetworkError("The source sent less than it announced")

        retry(attempt, cancellation, progress=lambda: done, on=RETRYABLE_ERRORS)

    @contextmanager
    def open(
        self, file: SourceFile, *, cancellation: Cancellation, progress: Callable[[int], None]
    ) -> Iterator[Fill]:
        """Read the whole file; a broken connection is resumed if the source allows that."""

        def connect(start: int) -> AbstractContextManager[_Body]:
            return self._open_range(file, start, None, cancellation)

        with ExitStack() as connection:
            download = _Download(file, connect, connection, cancellation)

            def fill(view: memoryview) -> int:
                done = 0
                while done < len(view) and (block := download.read(len(view) - done)):
                    view[done : done + len(block)] = block
                    done += len(block)
                    progress(len(block))
                return done

            yield fill

    @contextmanager
    def _open_range(
        self, file: SourceFile, start: int, end: int | None, cancellation: Cancellation
    ) -> Iterator[_Body]:
        """Yield the bytes of ``[start, end)``, or fewer; without an ``end``, all the rest.

        If-Range (RFC 9110, 13.1.5) makes the source send all of a file that has changed.
        """
        headers = {}
        if start or end is not None:
            headers["range"] = f"bytes={start}-" + ("" if end is None else str(end - 1))
            if file.etag:
                headers["if-range"] = file.etag
        with self._client.get(
            self.url(file.file_id), headers, cancellation=cancellation
        ) as response:
            first, last = _sent_range(file, response, asked=bool(headers))
            _check_version(file, response, is_whole=first == start == 0 and not file.ranged)
            if not first <= start or (last is not None and last < start - 1):
                raise NetworkError("The source sent another range than the requested one")
            if file.ranged and start - first > MAX_SKIP:
                raise NetworkError("The source ignores ranges that it announced")
            coding = parse_coding(response.headers.get("content-encoding"))
            if file.ranged and needs_decoding(coding, file.name):
                raise NetworkError("The source compressed a file without being asked to")
            ends = [each for each in (end, None if last is None else last + 1) if each is not None]
            yield _Body(
                response,
                skip=start - first,
                length=min(ends) - start if ends else None,
                total=_total(response),
                is_partial=response.status == 206,
                coding=coding,
            )

    def _describe(self, file_id: int, cancellation: Cancellation) -> SourceFile:
        """Describe a file by a GET for its first byte.

        Unlike the response to a HEAD request, which some sources refuse and others get wrong, this
        one shows whether ranges work, and what the file will be read as.
        """
        file = None
        # 416 for an empty file, or 400 or 501 because of the range.
        with suppress(FileChanged, InvalidFileId, NetworkError):
            file = self._describe_by({"range": "bytes=0-0"}, file_id, cancellation)
        file = file or self._describe_by({}, file_id, cancellation)
        if file is None:
            raise NetworkError("The source sent a part of a file that was requested as a whole")
        if file.ranged and file.size and file.size > MAX_SKIP:
            file = self._without_false_ranges(file, cancellation)
        return file

    def _describe_by(
        self, headers: Mapping[str, str], file_id: int, cancellation: Cancellation
    ) -> SourceFile | None:
        """Return what the response to one request says; None if it is unusable."""
        url = self.url(file_id)
        with self._client.get(url, headers, cancellation=cancellation) as response:
            size = response.length
            if response.status == 206:
                sent = _ContentRange.parse(response.headers.get("content-range"))
                if sent is None or sent.first != 0 or not (headers or sent.is_complete):
                    return None
                size = sent.total
            coding = parse_coding(response.headers.get("content-encoding"))
            name = _file_name(response, file_id)
            decoded = needs_decoding(coding, name)
            etag = response.headers.get("etag", "")
            strong_etag = etag if _STRONG_ETAG.fullmatch(etag) else None
            ranged = bool(headers) and response.status == 206 and not decoded
            return SourceFile(
                file_id=file_id,
                origin=_without_secrets(url),
                name=coded_name(coding, name),
                size=None if decoded else size,
                etag=strong_etag,
                modified=_parse_date(response.headers.get("last-modified")),
                content_type=response.headers.get("content-type"),
                ranged=ranged and strong_etag is not None and size is not None,
            )

    def _without_false_ranges(self, file: SourceFile, cancellation: Cancellation) -> SourceFile:
        """Return the file as one without ranges if its last byte cannot be read by If-Range.

        Such sources ignore one of the headers, or consist of servers with ETags of their own.
        """
        last = (file.size or 0) - 1
        try:
            with self._open_range(file, last, last + 1, cancellation):
                return file
        except (NetworkError, FileChanged):
            return replace(file, ranged=False)


@dataclass(frozen=True, slots=True)
class _ContentRange:
    """The value of Content-Range, RFC 9110, 14.4."""

    first: int
    last: int
    total: int | None

    @property
    def is_complete(self) -> bool:
        return self.first == 0 and self.total is not None and self.last == self.total - 1

    @classmethod
    def parse(cls, text: str | None) -> _ContentRange | None:
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
#: RFC 9110, 8.8.3; the bytes from 0x80 are obs-text.
_STRONG_ETAG: Final = re.compile(r'"[\x21\x23-\x7e\x80-\xff]*"')


class _Body:
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

        Raise NetworkError if the body ends before its end.
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


class _Download:
    """A whole file, decoded, over as many connections as it takes."""

    def __init__(
        self,
        file: SourceFile,
        connect: Callable[[int], AbstractContextManager[_Body]],
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
        self._body: _Body | None = None
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
        total = self._file.size if body.total is None else body.total
        if block or total in (None, self._position):
            return block
        self._close_body()
        if body.is_partial and self._position > self._opened_at:
            # Sources may send less than the requested range: the rest is the next request's.
            return self._receive()
        raise NetworkError("The source sent less than it announced")

    def _open_body(self) -> _Body:
        if self._position and self._file.etag is None:
            raise _CannotResume
        body = self._connection.enter_context(self._connect(self._position))
        if self._position and body.coding != self._coding:
            raise FileChanged
        self._body, self._coding, self._opened_at = body, body.coding, self._position
        return body

    def _close_body(self) -> None:
        self._body = None
        self._connection.close()


class _CannotResume(Exception):
    """The source can only be read from the beginning, and what was read is in use already."""


def _sent_range(
    file: SourceFile, response: SourceResponse, *, asked: bool
) -> tuple[int, int | None]:
    """Return the first and last position in the body; None for the last if it is unknown.

    Raise NetworkError for a 206 that must not be used, RFC 9110, 15.3.7.
    """
    if response.status != 206:
        if file.ranged and response.length not in (None, file.size):
            raise FileChanged
        return 0, None if response.length is None else response.length - 1
    sent = _ContentRange.parse(response.headers.get("content-range"))
    if sent is None or not (asked or sent.is_complete):
        raise NetworkError("The source sent a part of the file without saying which")
    if file.ranged and sent.total not in (None, file.size):
        raise FileChanged
    if response.length not in (None, sent.last - sent.first + 1):
        raise NetworkError("The source sent a part of the file with the wrong length")
    return sent.first, sent.last


def _total(response: SourceResponse) -> int | None:
    if response.status != 206:
        return response.length
    sent = _ContentRange.parse(response.headers.get("content-range"))
    return None if sent is None else sent.total


def _check_version(file: SourceFile, response: SourceResponse, *, is_whole: bool) -> None:
    """Raise FileChanged for another version, NetworkError if the version cannot be verified."""
    etag = response.headers.get("etag")
    if file.etag is None or etag == file.etag or is_whole:
        return
    if etag is None or etag.removeprefix("W/") == file.etag:
        raise NetworkError("The source does not say which version of the file it sent")
    raise FileChanged


def _file_name(response: SourceResponse, file_id: int) -> str:
    """Return the name by Content-Disposition, else by the URL after redirects, else the id."""
    by_header = parse_filename(response.headers.get("content-disposition", ""))
    return by_header or unquote(urlsplit(response.url).path.rpartition("/")[2]) or str(file_id)


def _parse_date(text: str | None) -> datetime | None:
    """Return the time of an HTTP date (RFC 9110, 5.6.7); None for anything else."""
    try:
        date = parsedate_to_datetime(text or "")
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _without_secrets(url: str) -> str:
    """Return the URL, its query replaced by a digest: queries may hold keys, and this is stored."""
    parts = urlsplit(url)
    digest = hashlib.sha256(parts.query.encode()).hexdigest()[:16] if parts.query else ""
    return f"{parts.scheme}://{parts.netloc}{parts.path}" + (f"?{digest}" if digest else "")
