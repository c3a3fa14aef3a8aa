"""Collects the checksums of an archive's files while their bytes are copied and read."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from common.object_storage import BadChecksum
from worker.archive.planning.layout import ByteSpan, SpanKind
from worker.archive.planning.plan import Plan
from worker.archive.zip_format.crc32 import join


class FileChecksums:
    """Turns the CRC32s of spans into the CRC32s of files, and verifies them. Thread safe.

    A file's checksum is that of the bytes that went into the archive, as the storage or the worker
    computed it. It must agree with the one that the source gives.
    """

    def __init__(
        self,
        plan: Plan,
        listed: Sequence[int | None],
        expected: Sequence[int | None],
        *,
        file_count: int,
    ) -> None:
        """Take for each item the checksum that the source gives, and the expected one, or None.

        ``listed`` is part of the plan: another attempt with the same plan has the same values.
        ``file_count`` is the number of items that are files; the manifest follows them.
        """
        self._listed = listed
        self._expected = expected
        self._spans: dict[int, list[ByteSpan]] = {}
        for part in plan.parts:
            for span in part.spans:
                if span.kind is SpanKind.DATA:
                    self._spans.setdefault(span.item, []).append(span)
        self._missing = {item: len(spans) for item, spans in self._spans.items()}
        self._span_crc32s: dict[tuple[int, int], int] = {}
        self._lock = threading.Lock()
        self._crc32s: list[int | None] = [
            None if index in self._spans else 0 for index in range(len(plan.items))
        ]
        self._file_count = file_count
        #: The number of files without a checksum.
        self.unknown_files = sum(item < file_count for item in self._spans)

    def add(self, span: ByteSpan, crc32: int) -> None:
        """Add the checksum of a DATA span; raise BadChecksum if the file's is not as expected."""
        with self._lock:
            if (span.item, span.start) in self._span_crc32s:
                return
            self._span_crc32s[span.item, span.start] = crc32
            self._missing[span.item] -= 1
            if self._missing[span.item]:
                return
            spans = self._spans[span.item]
            if len(spans) > 1:
                crc32 = join((self._span_crc32s[s.item, s.start], s.length) for s in spans)
            expected = self._expected[span.item]
            if expected is not None and expected != crc32:
                raise BadChecksum("A file does not match its stored checksum")
            self._crc32s[span.item] = crc32
            if span.item < self._file_count:
                self.unknown_files -= 1

    def spans(self, item: int) -> list[ByteSpan]:
        """Return the spans that an item's bytes are divided into."""
        return self._spans.get(item, [])

    def crc32(self, item: int) -> int | None:
        """Return the checksum of an item; None until all of its spans are known."""
        return self._crc32s[item]

    def for_header(self, item: int) -> int | None:
        """Return the checksum that an item's header contains; None while it is unknown.

        It may be the one that the source gives. The archive is not completed before ``add`` has
        verified it.
        """
        return self._listed[item] if self._crc32s[item] is None else self._crc32s[item]

    def crc32s(self) -> list[int]:
        """Return the checksums of all items; call it when all are known."""
        return [crc for crc in self._crc32s if crc is not None]

    def unlisted(self, spans: Sequence[ByteSpan]) -> list[int]:
        """Return the checksums of the DATA spans that the source does not give."""
        return [
            self._span_crc32s[span.item, span.start]
            for span in spans
            if span.kind is SpanKind.DATA and self._listed_crc32(span) is None
        ]

    def restore(self, spans: Sequence[ByteSpan], crc32s: Sequence[int]) -> None:
        """Add what ``unlisted`` returned for the same spans in an earlier attempt."""
        rest = iter(crc32s)
        for span in spans:
            if span.kind is SpanKind.DATA:
                listed = self._listed_crc32(span)
                self.add(span, next(rest) if listed is None else listed)

    def _listed_crc32(self, span: ByteSpan) -> int | None:
        return self._listed[span.item] if len(self._spans[span.item]) == 1 else None
