"""Downloads an archive: resumes after errors, verifies the checksum, then renames the file."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import httpx

from .connection import Connection, json_body
from .errors import ChecksumMismatch, TransferFailed
from .job import Job
from .timing import backoff

#: Maximum number of consecutive failures without any progress.
MAX_FAILURES = 6

#: Called with the number of bytes written and the size of the archive.
OnProgress = Callable[[int, int], None]


class _Broken(Exception):
    """The connection broke or the signed URL expired. The transfer can be resumed."""


@dataclass(kw_only=True)
class Transfer:
    """The download of one archive."""

    connection: Connection
    job: Job
    size: int
    on_progress: OnProgress

    def to_file(self, target: Path, *, overwrite: bool = True) -> None:
        """Download, verify and rename. Raise ``TransferFailed`` or ``ChecksumMismatch``.

        Bytes go to a file next to ``target`` whose name contains the archive's checksum. A later
        call resumes from this file, but never from the file of another archive.
        """
        tag = (self.job.checksum or self.job.job_id).replace(":", "-")
        part = target.with_name(f".{target.name}.{tag}.part")
        try:
            part.touch()
            resumed = part.stat().st_size
            self._append(part)
            if resumed and not self._matches(_checksum_of(part)):
                # The bytes of an earlier call may be wrong: start again from the first byte.
                part.write_bytes(b"")
                self._append(part)
            if not self._matches(_checksum_of(part)):
                part.unlink()
                raise self._mismatch(target.name)
            if target.exists() and not overwrite:
                raise TransferFailed(f"{target} exists; the archive is in {part}")
            part.replace(target)
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
                stream.write(chunk)
                checksum = zlib.crc32(chunk, checksum)
            stream.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise TransferFailed(f"cannot write: {error.strerror or error}") from error
        if not self._matches(checksum):
            raise self._mismatch("the archive")

    def _append(self, part: Path) -> None:
        # Unbuffered, so that the bytes of an interrupted transfer are on disk.
        with part.open("ab", buffering=0) as file:
            for chunk in self._receive(file.tell()):
                file.write(chunk)

    def _receive(self, position: int) -> Iterator[bytes]:
        """Yield the bytes from ``position`` on. Continue after errors where they occurred."""
        failures = 0
        while position < self.size:
            before = position
            try:
                for chunk in self._request(position):
                    yield chunk
                    position += len(chunk)
                    self.on_progress(position, self.size)
            except (_Broken, httpx.TransportError) as error:
                failures = 1 if position > before else failures + 1
                if failures >= MAX_FAILURES:
                    raise TransferFailed(
                        f"the download failed at byte {position}: {error}"
                    ) from error
                self.connection.clock.sleep(backoff(failures))

    def _request(self, start: int) -> Iterator[bytes]:
        """Yield the bytes from ``start`` to the end, or raise ``_Broken``."""
        # A new URL for every attempt: the last one may have expired in the meantime.
        link = json_body(self.connection.call("GET", f"/v1/download/{self.job.job_id}"))
        if "downloadUrl" not in link:
            raise _Broken("the API sent no link")
        headers = {"Accept-Encoding": "identity", "Range": f"bytes={start}-"}
        with self.connection.fetch(link["downloadUrl"], headers) as response:
            position = self._first_byte(response, start)
            # Without a chunk size, which would buffer bytes that a broken connection loses.
            for chunk in response.iter_raw():
                if rest := chunk[max(0, start - position) :]:
                    yield rest
                position += len(chunk)
        if position != self.size:
            raise _Broken(f"received only {position} of {self.size} bytes")

    def _first_byte(self, response: httpx.Response, start: int) -> int:
        match response.status_code:
            case httpx.codes.OK:
                return 0
            case httpx.codes.PARTIAL_CONTENT:
                if response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
                    return start
                raise TransferFailed("the object storage sent a range other than the requested one")
            case httpx.codes.NOT_FOUND:
                raise TransferFailed("the archive does not exist in the object storage")
        raise _Broken(f"the object storage responded with {response.status_code}")

    def _matches(self, checksum: int) -> bool:
        kind, _, expected = (self.job.checksum or "").partition(":")
        return kind != "crc32" or f"{checksum:08x}" == expected.lower()

    def _mismatch(self, name: str) -> ChecksumMismatch:
        return ChecksumMismatch(f"{name} does not have the checksum {self.job.checksum}")


def _checksum_of(path: Path) -> int:
    checksum = 0
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            checksum = zlib.crc32(chunk, checksum)
    return checksum
