"""Downloads an archive: resumes after errors, verifies the checksum, then renames the file."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

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
    """The download of one archive to ``target``.

    Bytes go to a file next to it whose name contains the archive's checksum. A later call resumes
    from this file, but never from the file of another archive.
    """

    connection: Connection
    job: Job
    size: int
    target: Path
    on_progress: OnProgress

    def run(self) -> None:
        """Download, verify and rename. Raise ``TransferFailed`` or ``ChecksumMismatch``."""
        self._part.touch()
        resumed = self._size_on_disk()
        self._fetch()
        if resumed and not self._matches():
            # The bytes of an earlier call may be wrong: start again from the first byte.
            self._part.write_bytes(b"")
            self._fetch()
        if not self._matches():
            self._part.unlink()
            raise ChecksumMismatch(
                f"{self.target.name} does not have the checksum {self.job.checksum}"
            )
        self._part.replace(self.target)

    @property
    def _part(self) -> Path:
        tag = (self.job.checksum or self.job.job_id).replace(":", "-")
        return self.target.with_name(f".{self.target.name}.{tag}.part")

    def _fetch(self) -> None:
        failures = 0
        while True:
            before = self._size_on_disk()
            try:
                return self._receive(before)
            except (_Broken, httpx.TransportError) as error:
                failures = 1 if self._size_on_disk() > before else failures + 1
                if failures >= MAX_FAILURES:
                    raise TransferFailed(
                        f"the download failed at byte {self._size_on_disk()}: {error}"
                    ) from error
            self.connection.clock.sleep(backoff(failures))

    def _size_on_disk(self) -> int:
        return self._part.stat().st_size

    def _receive(self, start: int) -> None:
        """Append from byte ``start``, or rewrite the file if the storage sends all of it."""
        if start >= self.size:
            return
        # A new URL for every attempt: the last one may have expired in the meantime.
        link = json_body(self.connection.call("GET", f"/v1/download/{self.job.job_id}"))
        headers = {"Accept-Encoding": "identity", "Range": f"bytes={start}-"}
        with self.connection.fetch(link["downloadUrl"], headers) as response:
            start = self._first_byte(response, start)
            with self._part.open("r+b" if start else "wb") as part:
                part.seek(start)
                # Without a chunk size, which would buffer bytes that a broken connection loses.
                for chunk in response.iter_raw():
                    part.write(chunk)
                    self.on_progress(part.tell(), self.size)
                if part.tell() != self.size:
                    raise _Broken(f"received only {part.tell()} of {self.size} bytes")

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

    def _matches(self) -> bool:
        kind, _, expected = (self.job.checksum or "").partition(":")
        if kind != "crc32":
            return True
        crc = 0
        with self._part.open("rb") as part:
            while chunk := part.read(1 << 20):
                crc = zlib.crc32(chunk, crc)
        return f"{crc:08x}" == expected.lower()
