"""Downloads an archive: resumes after errors, verifies the checksum, then renames the file."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import httpx

from .connection import RETRYABLE, Connection, json_body
from .errors import ApiProblem, ChecksumMismatch, TransferFailed, Unreachable
from .job import Job
from .part_file import PartFile, write_all
from .timing import backoff

#: Seconds without any progress after which a transfer fails.
STALL_TIMEOUT = 120.0
#: Maximum seconds between two attempts that a ``Retry-After`` may ask for.
MAX_PAUSE = 30.0

_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,19})-[0-9]{1,19}/([0-9]{1,19}|\*)")

#: Called with the number of bytes written and the size of the archive.
OnProgress = Callable[[int, int], None]


class _TransferBroken(Exception):
    """The connection broke or the signed URL expired. The transfer can be resumed."""


class _Changed(TransferFailed):
    """The rest may belong to another version of the file than the bytes before it."""


@dataclass(kw_only=True)
class ArchiveTransfer:
    """The download of one archive."""

    connection: Connection
    job: Job
    size: int
    on_progress: OnProgress
    #: The ETag of the response that contained the first byte.
    _etag: str = field(default="", init=False)

    def to_file(self, target: Path, *, overwrite: bool = True) -> None:
        """Download, verify and rename. Raise ``TransferFailed`` or ``ChecksumMismatch``.

        Bytes go to a file next to ``target`` whose name contains the archive's checksum. A later
        call resumes from this file, but never from the file of another archive. Without a
        checksum, nothing shows what the file contains, so a later call starts again.
        """
        tag = re.sub(r"[^0-9A-Za-z-]", "-", self.job.checksum or self.job.job_id)
        try:
            with PartFile(target.with_name(f".{target.name}.{tag}.part")) as part:
                self._complete(part, target.name)
                if target.exists() and not overwrite:
                    raise TransferFailed(f"{target} exists; the archive is in {part.path}")
                part.move_to(target)
        except OSError as error:
            raise TransferFailed(f"cannot write {target}: {error.strerror or error}") from error

    def to_stream(self, stream: BinaryIO) -> None:
        """Write the archive to ``stream``. The checksum is known only when everything is written.

        Raises ``TransferFailed`` and ``ChecksumMismatch``. ``BrokenPipeError`` is left to the
        caller: the reader has enough.
        """
        checksum = 0
        try:
            for chunk in self._receive(0):
                write_all(stream, chunk)
                checksum = zlib.crc32(chunk, checksum)
            stream.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise TransferFailed(f"cannot write: {error.strerror or error}") from error
        if not self._matches(checksum):
            raise self._mismatch("the archive")

    def _complete(self, part: PartFile, name: str) -> None:
        """Write what the file lacks and verify it. Start again if it cannot be continued."""
        if not self._has_checksum:
            part.clear()
        resumed = part.size
        try:
            self._append(part)
        except _Changed:
            part.clear()
            self._append(part)
        if resumed and not self._matches(part.crc32()):
            # The bytes of an earlier call may be wrong.
            part.clear()
            self._append(part)
        if self._has_checksum and not self._matches(part.crc32()):
            part.delete()
            raise self._mismatch(name)
        if part.size != self.size:
            raise TransferFailed(
                f"{part.path} has {part.size} bytes instead of {self.size}: another program "
                "changed it. Download the archive again"
            )

    def _append(self, part: PartFile) -> None:
        for chunk in self._receive(part.size):
            part.append(chunk)

    def _receive(self, position: int) -> Iterator[bytes]:
        """Yield the bytes from ``position`` on. Continue after errors where they occurred."""
        clock = self.connection.clock
        failures, last_progress = 0, clock.now()
        while position < self.size:
            try:
                for chunk in self._request(position):
                    yield chunk
                    position += len(chunk)
                    failures, last_progress = 0, clock.now()
                    self.on_progress(position, self.size)
            except (_TransferBroken, Unreachable, ApiProblem, httpx.RequestError) as error:
                failures += 1
                pause = _pause(error, failures)
                if clock.now() - last_progress > STALL_TIMEOUT:
                    raise TransferFailed(
                        f"the download failed at byte {position}: {error}"
                    ) from error
                clock.sleep(pause)

    def _request(self, start: int) -> Iterator[bytes]:
        """Yield the bytes from ``start`` to the end, or raise ``_TransferBroken``."""
        headers = {"Accept-Encoding": "identity", "Range": f"bytes={start}-"}
        with self.connection.fetch(self._link(), headers) as response:
            position = self._first_byte(response, start)
            self._require_same_file(response, start)
            # Without a chunk size, which would buffer bytes that a broken connection loses.
            for chunk in response.iter_raw():
                if position + len(chunk) > self.size:
                    raise TransferFailed(
                        f"the object storage sent more than the {self.size} bytes of the archive"
                    )
                if rest := chunk[max(0, start - position) :]:
                    yield rest
                position += len(chunk)
        if position != self.size:
            raise _TransferBroken(f"received only {position} of {self.size} bytes")

    def _link(self) -> str:
        """Return a new URL for an attempt: the last one may have expired in the meantime."""
        # Sent once, because the attempt as a whole is repeated.
        link = json_body(self.connection.once("GET", f"/v1/download/{self.job.job_id}"))
        url = link.get("downloadUrl")
        if not isinstance(url, str):
            raise _TransferBroken("the API sent no link")
        return url

    def _first_byte(self, response: httpx.Response, start: int) -> int:
        match response.status_code:
            case httpx.codes.OK:
                return 0
            case httpx.codes.PARTIAL_CONTENT:
                return self._start_of_range(response, start)
            case httpx.codes.NOT_FOUND:
                raise TransferFailed("the archive does not exist in the object storage")
            case httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                raise TransferFailed(
                    f"the file in the object storage has fewer than the {self.size} bytes of the "
                    "archive"
                )
        raise _TransferBroken(f"the object storage responded with {response.status_code}")

    def _start_of_range(self, response: httpx.Response, start: int) -> int:
        found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if not found or int(found[1]) != start:
            raise TransferFailed("the object storage sent a range other than the requested one")
        # The length may be unknown (RFC 9110, 14.4).
        if found[2] != "*" and int(found[2]) != self.size:
            raise TransferFailed(
                f"the file in the object storage has {found[2]} bytes, but the archive {self.size}"
            )
        return start

    def _require_same_file(self, response: httpx.Response, start: int) -> None:
        """Raise ``_Changed`` unless the response continues the file of the first response.

        Parts may be combined only if they have the same strong ETag (RFC 9110, 15.3.7.3). An
        archive with a checksum does not need this: a storage may lack ETags, or give the same
        content another one.
        """
        etag = response.headers.get("ETag", "")
        if start == 0:
            self._etag = etag
        elif not self._has_checksum and (not etag or etag.startswith("W/") or etag != self._etag):
            raise _Changed(
                "the file in the object storage may have changed during the download. Download it "
                "again"
            )

    @property
    def _has_checksum(self) -> bool:
        return (self.job.checksum or "").startswith("crc32:")

    def _matches(self, checksum: int) -> bool:
        expected = (self.job.checksum or "").removeprefix("crc32:")
        return not self._has_checksum or f"{checksum:08x}" == expected.lower()

    def _mismatch(self, name: str) -> ChecksumMismatch:
        return ChecksumMismatch(f"{name} does not have the checksum {self.job.checksum}")


def _pause(error: Exception, failures: int) -> float:
    """Return the seconds until the next attempt. Raise the error if none would help."""
    if not isinstance(error, ApiProblem):
        return backoff(failures)
    if error.status not in RETRYABLE:
        raise error
    return max(backoff(failures), min(error.retry_after or 0.0, MAX_PAUSE))
