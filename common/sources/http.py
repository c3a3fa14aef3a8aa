"""Files from HTTP and HTTPS servers, which may be slow or unreliable, or send incorrect headers."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from typing import Final
from urllib.parse import unquote, urlsplit

from common.errors import (
    DownloadError,
    FileChanged,
    InvalidFileId,
    NetworkError,
    PermanentDownloadError,
)
from common.http_headers import parse_http_date
from common.object_storage import Cancellation
from common.object_storage.content_disposition import parse_filename
from common.object_storage.retries import retry
from common.sources.base import Fill
from common.sources.content_coding import (
    coded_name,
    needs_decoding,
    parse_coding,
)
from common.sources.files import FileDescription, Missing, SourceFile, name_file
from common.sources.host_limits import NO_LIMITS, HostLimits, OnWait
from common.sources.http_body import (
    BLOCK,
    RETRYABLE_ERRORS,
    Body,
    ContentRange,
    WholeFile,
    check_version,
    is_partial,
    sent_range,
    total_size,
)
from common.sources.http_client import ConnectionFailed, HttpClient
from common.sources.http_connections import SourceResponse
from common.task_group import TaskGroup

#: Files that are described at the same time.
MAX_CONCURRENT_REQUESTS: Final = 16
#: Bytes that are skipped if a source responds to a range with the whole file. For larger files,
#: ``describe`` checks that ranges work.
MAX_SKIP: Final = 16 * 1024 * 1024

#: RFC 9110, 8.8.3; the bytes from 0x80 are obs-text.
_STRONG_ETAG: Final = re.compile(r'"[\x21\x23-\x7e\x80-\xff]*"')


class HttpSource:
    """Files behind a URL with ``{file_id}`` in its path or query; its host is fixed."""

    def __init__(
        self,
        template: str,
        *,
        redirect_hosts: frozenset[str] = frozenset(),
        authorization: str | None = None,
        limits: HostLimits = NO_LIMITS,
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
            limits=limits,
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
                    budget=cancellation.source_retries,
                    on=RETRYABLE_ERRORS,
                )
            except PermanentDownloadError as error:
                descriptions[file_id] = Missing.because_of(error, file_id)
            except DownloadError as error:
                name_file(error, file_id)
                raise

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
                with self._open_range(
                    file, start + done, end, cancellation, on_wait=lambda: progress(0)
                ) as body:
                    while block := body.read(BLOCK):
                        view[done : done + len(block)] = block
                        done += len(block)
                        progress(len(block))
                if done == done_before:
                    raise NetworkError("The source sent less than it announced")

        retry(
            attempt, cancellation,
            budget=cancellation.source_retries, progress=lambda: done, on=RETRYABLE_ERRORS,
        )  # fmt: skip

    @contextmanager
    def open(
        self, file: SourceFile, *, cancellation: Cancellation, progress: Callable[[int], None]
    ) -> Iterator[Fill]:
        """Read the whole file; a broken connection is resumed if the source allows that."""

        def connect(start: int) -> AbstractContextManager[Body]:
            return self._open_range(file, start, None, cancellation, on_wait=lambda: progress(0))

        with ExitStack() as connection:
            download = WholeFile(file, connect, connection, cancellation)

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
        self,
        file: SourceFile,
        start: int,
        end: int | None,
        cancellation: Cancellation,
        *,
        on_wait: OnWait = lambda: None,
    ) -> Iterator[Body]:
        """Yield the bytes of ``[start, end)``, or fewer; without an ``end``, all the rest.

        If-Range (RFC 9110, 13.1.5) makes the source send all of a file that has changed.
        """
        headers = {}
        if start or end is not None:
            headers["range"] = f"bytes={start}-" + ("" if end is None else str(end - 1))
            if file.etag:
                headers["if-range"] = file.etag
        with self._client.get(
            self.url(file.file_id), headers, cancellation=cancellation, on_wait=on_wait
        ) as response:
            first, last = sent_range(file, response, asked=bool(headers))
            check_version(file, response, is_whole=first == start == 0 and not file.ranged)
            if not first <= start or (last is not None and last < start - 1):
                raise NetworkError("The source sent another range than the requested one")
            if file.ranged and start - first > MAX_SKIP:
                raise NetworkError("The source ignores ranges that it announced")
            coding = parse_coding(response.headers.get("content-encoding"))
            is_renamed = coded_name(coding, file.name) != file.name
            if is_renamed or (file.ranged and needs_decoding(coding, file.name)):
                raise NetworkError("The source compressed a file without being asked to")
            ends = [each for each in (end, None if last is None else last + 1) if each is not None]
            yield Body(
                response,
                skip=start - first,
                length=min(ends) - start if ends else None,
                total=total_size(response),
                is_partial=is_partial(response),
                coding=coding,
            )

    def _describe(self, file_id: int, cancellation: Cancellation) -> SourceFile:
        """Describe a file by a GET for its first byte.

        Unlike the response to a HEAD request, which some sources reject and others get wrong, this
        one shows whether ranges work, and what the file will be read as.
        """
        try:
            file = self._describe_by({"range": "bytes=0-0"}, file_id, cancellation)
        except ConnectionFailed:
            raise
        except (FileChanged, InvalidFileId, NetworkError):
            # 416 for an empty file, or 400 or 501 because of the range.
            file = None
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
            if is_partial(response):
                sent = ContentRange.parse(response.headers.get("content-range"))
                if sent is None or sent.first != 0 or not (headers or sent.is_complete):
                    return None
                size = sent.total
            coding = parse_coding(response.headers.get("content-encoding"))
            name = _file_name(response, file_id)
            decoded = needs_decoding(coding, name)
            etag = response.headers.get("etag", "")
            strong_etag = etag if _STRONG_ETAG.fullmatch(etag) else None
            # Nothing is read of an empty file, so it does not matter whether ranges work.
            ranges = size == 0 or (bool(headers) and is_partial(response))
            return SourceFile(
                file_id=file_id,
                origin=_without_secrets(url),
                name=coded_name(coding, name),
                size=None if decoded else size,
                etag=strong_etag,
                modified=parse_http_date(response.headers.get("last-modified")),
                content_type=response.headers.get("content-type"),
                ranged=ranges and not decoded and strong_etag is not None and size is not None,
            )

    def _without_false_ranges(self, file: SourceFile, cancellation: Cancellation) -> SourceFile:
        """Return the file as one without ranges if its last byte cannot be read by If-Range.

        Such sources ignore one of the headers, or consist of servers with ETags of their own.
        """
        last = (file.size or 0) - 1
        try:
            with self._open_range(file, last, last + 1, cancellation):
                return file
        except ConnectionFailed:
            raise
        except NetworkError:
            return replace(file, ranged=False)
        except FileChanged:
            return replace(file, ranged=False, etag=None)


def _file_name(response: SourceResponse, file_id: int) -> str:
    """Return the name by Content-Disposition, else by the URL after redirects, else the id."""
    by_header = parse_filename(response.headers.get("content-disposition", ""))
    return by_header or unquote(urlsplit(response.url).path.rpartition("/")[2]) or str(file_id)


def _without_secrets(url: str) -> str:
    """Return the URL, its query replaced by a digest: queries may hold keys, and this is stored."""
    parts = urlsplit(url)
    digest = hashlib.sha256(parts.query.encode()).hexdigest()[:16] if parts.query else ""
    return f"{parts.scheme}://{parts.netloc}{parts.path}" + (f"?{digest}" if digest else "")
