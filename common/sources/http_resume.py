"""A whole file over as many connections as it takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from common.errors import DownloadError, NetworkError, SourceRateLimited, TemporaryUnavailable
from common.object_storage import Cancellation
from common.object_storage.transport import retry
from common.sources.base import SourceFile

#: What trying again may mend.
PASSING = (NetworkError, TemporaryUnavailable, SourceRateLimited)


class _CannotGoOn(Exception):
    """The source has to be read from its beginning, and what was read is on its way already."""


class Resumed:
    """Blocks of a whole file over as many connections as it takes."""

    def __init__(
        self,
        connect: Callable[[int], Iterator[bytes]],
        entry: SourceFile,
        cancellation: Cancellation,
    ) -> None:
        self._connect = connect
        self._entry = entry
        self._cancellation = cancellation
        self._position = 0
        self._blocks: Iterator[bytes] | None = None
        self._rest = b""

    def next(self, most: int) -> bytes:
        """At most so many bytes; none at the end of the file."""
        if not self._rest:
            try:
                self._rest = retry(
                    self._block, self._cancellation, progress=lambda: self._position, on=PASSING
                )
            except _CannotGoOn:
                raise NetworkError("The connection broke, and the source cannot go on") from None
        block, self._rest = self._rest[:most], self._rest[most:]
        return block

    def _block(self) -> bytes:
        if self._blocks is None:
            if self._position and self._entry.etag is None:
                raise _CannotGoOn
            self._blocks = self._connect(self._position)
        try:
            block = next(self._blocks, b"")
        except DownloadError:
            self._blocks = None
            raise
        self._position += len(block)
        if not block and self._entry.size not in (None, self._position):
            self._blocks = None
            raise NetworkError("The source sent less than it announced")
        return block
