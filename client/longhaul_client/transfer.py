"""Fetching a finished archive: resumed where it broke, verified at the end, moved into place."""

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

#: Breaks in a row, without a byte of progress between them, before the transfer is given up.
PATIENCE = 6

#: Called with the bytes that are safe so far and the size of the whole.
OnProgress = Callable[[int, int], None]


class _Broken(Exception):
    """The connection broke, or the link ran out: worth another try from where it stopped."""


@dataclass(kw_only=True)
class Transfer:
    """One archive on its way into ``target``.

    Bytes go to a file beside it whose name carries the archive's checksum, so that a later call
    goes on where an earlier one was interrupted, and never with another archive's bytes.
    """

    connection: Connection
    job: Job
    size: int
    target: Path
    on_progress: OnProgress

    def run(self) -> None:
        """Fetch, verify, and move into place; raises ``TransferFailed`` or ``ChecksumMismatch``."""
        self._part.touch()
        left_over = self._held()
        self._fetch()
        if left_over and not self._matches():
            # What an earlier call left may be at fault: once more, from the first byte.
            self._part.write_bytes(b"")
            self._fetch()
        if not self._matches():
            self._part.unlink()
            raise ChecksumMismatch(f"{self.target.name} is not {self.job.checksum}")
        self._part.replace(self.target)

    @property
    def _part(self) -> Path:
        tag = (self.job.checksum or self.job.job_id).replace(":", "-")
        return self.target.with_name(f".{self.target.name}.{tag}.part")

    def _fetch(self) -> None:
        failures = 0
        while True:
            before = self._held()
            try:
                return self._receive(before)
            except (_Broken, httpx.TransportError) as error:
                failures = 1 if self._held() > before else failures + 1
                if failures >= PATIENCE:
                    raise TransferFailed(f"broke off at byte {self._held()}: {error}") from error
            self.connection.clock.sleep(backoff(failures))

    def _held(self) -> int:
        return self._part.stat().st_size

    def _receive(self, start: int) -> None:
        """Append from byte ``start`` on, or anew when the storage sends the whole."""
        if start >= self.size:
            return
        # A new link for every try: the last one may have run out while the line was down.
        link = json_body(self.connection.call("GET", f"/v1/download/{self.job.job_id}"))
        headers = {"Accept-Encoding": "identity", "Range": f"bytes={start}-"}
        with self.connection.fetch(link["downloadUrl"], headers) as answer:
            start = self._first_byte(answer, start)
            with self._part.open("r+b" if start else "wb") as part:
                part.seek(start)
                # As they come: a chunk size would hold bytes back that a break then loses.
                for chunk in answer.iter_raw():
                    part.write(chunk)
                    self.on_progress(part.tell(), self.size)
                if part.tell() != self.size:
                    raise _Broken(f"{part.tell()} of {self.size} bytes came")

    def _first_byte(self, answer: httpx.Response, start: int) -> int:
        match answer.status_code:
            case httpx.codes.OK:
                return 0
            case httpx.codes.PARTIAL_CONTENT:
                if answer.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
                    return start
                raise TransferFailed("the storage sent another range than the one asked for")
            case httpx.codes.NOT_FOUND:
                raise TransferFailed("the archive is gone from the storage")
        raise _Broken(f"the storage answered {answer.status_code}")

    def _matches(self) -> bool:
        kind, _, expected = (self.job.checksum or "").partition(":")
        if kind != "crc32":
            return True
        crc = 0
        with self._part.open("rb") as part:
            while chunk := part.read(1 << 20):
                crc = zlib.crc32(chunk, crc)
        return f"{crc:08x}" == expected.lower()
