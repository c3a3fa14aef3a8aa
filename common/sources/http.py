"""Files behind HTTP or HTTPS, from origins that may be slow, flaky and sparing with headers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from urllib.parse import unquote, urlsplit

from urllib3.exceptions import HTTPError
from urllib3.response import BaseHTTPResponse

from common.errors import FileChanged, FileNotFound, NetworkError, SourceForbidden
from common.object_storage import Cancellation
from common.object_storage.content_disposition import filename_of
from common.object_storage.transport import retry
from common.sources.base import FileDescription, Fill, Missing, SourceFile
from common.sources.http_client import HttpClient
from common.sources.http_resume import PASSING, Resumed
from common.task_group import TaskGroup

BLOCK = 256 * 1024
#: Questions that wait for their answers at the same time.
QUESTIONS = 16


class HttpSource:
    """``template`` is a URL with ``{file_id}`` in its path or query; its host is fixed."""

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
        self._web = HttpClient(
            origin=f"{parts.scheme}://{parts.netloc}",
            redirect_hosts=redirect_hosts,
            authorization=authorization,
        )

    def close(self) -> None:
        self._web.close()

    def url(self, file_id: int) -> str:
        return self._template.format(file_id=file_id)

    def describe(
        self,
        file_ids: Sequence[int],
        task_group: TaskGroup,
        *,
        known: Mapping[int, SourceFile],  # noqa: ARG002  HTTP has no listing to compare with
    ) -> list[FileDescription]:
        """One answer for each id; trouble other than a missing file is raised."""
        answers: dict[int, FileDescription] = {}

        def ask(file_id: int) -> None:
            try:
                answers[file_id] = retry(
                    lambda: self._ask(file_id), task_group.cancellation, on=PASSING
                )
            except FileNotFound:
                answers[file_id] = Missing(
                    file_id=file_id,
                    code=FileNotFound.code,
                    message=f"File {file_id} does not exist",
                )
            except SourceForbidden:
                answers[file_id] = Missing(
                    file_id=file_id,
                    code=SourceForbidden.code,
                    message=f"File {file_id} is not readable",
                )

        task_group.each(ask, file_ids, width=min(QUESTIONS, len(file_ids)))
        return [answers[file_id] for file_id in file_ids]

    def read_into(
        self,
        entry: SourceFile,
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
            for block in self._range(entry, start + done, start + len(view), cancellation):
                view[done : done + len(block)] = block
                done += len(block)
                progress(len(block))
            if done < len(view):
                raise NetworkError("The source sent less than it announced")

        if view:
            retry(attempt, cancellation, progress=lambda: done, on=PASSING)

    @contextmanager
    def open(
        self, entry: SourceFile, *, cancellation: Cancellation, progress: Callable[[int], None]
    ) -> Iterator[Fill]:
        """The file in one go; a connection that breaks is resumed if the source allows that."""
        blocks = Resumed(
            lambda start: self._range(entry, start, None, cancellation), entry, cancellation
        )

        def fill(view: memoryview) -> int:
            done = 0
            while done < len(view) and (block := blocks.next(len(view) - done)):
                view[done : done + len(block)] = block
                done += len(block)
                progress(len(block))
            return done

        yield fill

    def _range(
        self, entry: SourceFile, start: int, end: int | None, cancellation: Cancellation
    ) -> Iterator[bytes]:
        """The bytes of ``[start, end)`` as they come, or until the connection breaks.

        If-Range (RFC 9110, 13.1.5) makes the source send all of a file that has changed.
        """
        headers = {}
        if start or end is not None:
            headers["range"] = f"bytes={start}-" + ("" if end is None else str(end - 1))
            if entry.etag:
                headers["if-range"] = entry.etag
        answer, _ = self._web.request("GET", self.url(entry.file_id), headers)
        try:
            self._same_version(entry, answer)
            skip = 0 if answer.status == 206 else start
            if skip and entry.ranged:
                raise FileChanged
            left = None if end is None else end - start
            while (left is None or left > 0) and not cancellation.requested:
                block = _read(answer, BLOCK if left is None else min(BLOCK, left + skip))
                if not block:
                    break
                useful = block[skip:]
                skip -= len(block) - len(useful)
                left = None if left is None else left - len(useful)
                if useful:
                    yield useful
            if left == 0 and answer.status == 206:
                answer.drain_conn()
        finally:
            answer.close()

    def _same_version(self, entry: SourceFile, answer: BaseHTTPResponse) -> None:
        etag = answer.headers.get("etag")
        if entry.etag and etag and etag != entry.etag:
            raise FileChanged

    def _ask(self, file_id: int) -> SourceFile:
        url = self.url(file_id)
        answer, final = self._head(url)
        answer.release_conn()
        headers = answer.headers
        etag = headers.get("etag", "")
        strong = etag if etag.startswith('"') else None
        size = _size(answer)
        modified = headers.get("last-modified")
        ranged = headers.get("accept-ranges", "").lower() == "bytes" or answer.status == 206
        return SourceFile(
            file_id=file_id,
            origin=_without_secrets(url),
            name=filename_of(headers.get("content-disposition", ""))
            or unquote(urlsplit(final).path.rpartition("/")[2])
            or str(file_id),
            size=size,
            etag=strong,
            modified=parsedate_to_datetime(modified) if modified else None,
            content_type=headers.get("content-type"),
            ranged=ranged and strong is not None and size is not None,
        )

    def _head(self, url: str) -> tuple[BaseHTTPResponse, str]:
        try:
            return self._web.request("HEAD", url)
        except (FileNotFound, SourceForbidden, *PASSING):
            # Some origins answer HEAD wrongly or not at all: the first byte tells as much.
            answer, final = self._web.request("GET", url, {"range": "bytes=0-0"})
            if answer.status == 206:
                answer.drain_conn()
            else:
                answer.close()
            return answer, final


def _read(answer: BaseHTTPResponse, most: int) -> bytes:
    try:
        return answer.read1(most, decode_content=False)
    except (HTTPError, OSError) as error:
        raise NetworkError("The connection to the source broke") from error


def _size(answer: BaseHTTPResponse) -> int | None:
    """Content-Length, or the whole behind Content-Range; None if the body is encoded or chunked."""
    if answer.headers.get("content-encoding", "identity") != "identity":
        return None
    if answer.status == 206:
        whole = answer.headers.get("content-range", "").rpartition("/")[2]
        return int(whole) if whole.isdigit() else None
    length = answer.headers.get("content-length", "")
    return int(length) if length.isdigit() else None


def _without_secrets(url: str) -> str:
    """The URL, its query replaced by a digest: queries may hold keys, and this is stored."""
    parts = urlsplit(url)
    digest = hashlib.sha256(parts.query.encode()).hexdigest()[:16] if parts.query else ""
    return f"{parts.scheme}://{parts.netloc}{parts.path}" + (f"?{digest}" if digest else "")
