"""The checksums of an archive's files as they become known, piece by piece."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from common.object_storage import BadChecksum
from worker.archive.planning.layout import Piece, Span
from worker.archive.planning.plan import Plan
from worker.archive.zip_format.crc32 import join


class FileChecksums:
    """CRC32s of spans in, CRC32s of whole files out; each is held against what is known of it.

    Thread safe. A file's checksum comes from the bytes that went into the archive, as the store
    or the worker saw them; the catalogue's own is what it must agree with.
    """

    def __init__(
        self, plan: Plan, listed: Sequence[int | None], expected: Sequence[int | None]
    ) -> None:
        """For each item the checksum in the catalogue, and the one that must come out, or None.

        ``listed`` belongs to the plan: whoever makes the same plan again has the same.
        """
        self._listed = listed
        self._expected = expected
        self._spans: dict[int, list[Span]] = {}
        for part in plan.parts:
            for span in part.spans:
                if span.piece is Piece.DATA:
                    self._spans.setdefault(span.item, []).append(span)
        self._missing = {item: len(spans) for item, spans in self._spans.items()}
        self._known: dict[tuple[int, int], int] = {}
        self._lock = threading.Lock()
        self._crc32s: list[int | None] = [
            None if index in self._spans else 0 for index in range(len(plan.items))
        ]
        #: How many items have no checksum yet.
        self.unknown = len(self._spans)

    def learn(self, span: Span, crc32: int) -> None:
        """Take the checksum of a DATA span; BadChecksum if it makes the file a wrong one."""
        with self._lock:
            if (span.item, span.start) in self._known:
                return
            self._known[span.item, span.start] = crc32
            self._missing[span.item] -= 1
            if self._missing[span.item]:
                return
            spans = self._spans[span.item]
            whole = join((self._known[s.item, s.start], s.length) for s in spans)
            expected = self._expected[span.item]
            if expected is not None and expected != whole:
                raise BadChecksum("A file is not what its stored checksum says")
            self._crc32s[span.item] = whole
            self.unknown -= 1

    def spans(self, item: int) -> list[Span]:
        """The pieces in which the item's bytes go into the archive."""
        return self._spans.get(item, [])

    def crc32(self, item: int) -> int | None:
        """The checksum of a whole item; None as long as pieces are missing."""
        return self._crc32s[item]

    def crc32s(self) -> list[int]:
        """Those of all items, once all are known."""
        return [crc for crc in self._crc32s if crc is not None]

    def unlisted(self, spans: Sequence[Span]) -> list[int]:
        """The checksums of the DATA spans that cannot be had from the catalogue again."""
        return [
            self._known[span.item, span.start]
            for span in spans
            if span.piece is Piece.DATA and self._of_catalogue(span) is None
        ]

    def recall(self, spans: Sequence[Span], crc32s: Sequence[int]) -> None:
        """Learn what ``unlisted`` gave for the same spans in an earlier life."""
        rest = iter(crc32s)
        for span in spans:
            if span.piece is Piece.DATA:
                listed = self._of_catalogue(span)
                self.learn(span, next(rest) if listed is None else listed)

    def _of_catalogue(self, span: Span) -> int | None:
        return self._listed[span.item] if len(self._spans[span.item]) == 1 else None
