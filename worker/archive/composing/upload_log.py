"""What survives a worker that dies: which upload it was, and which of its parts are in the store.

One record is about 90 bytes a part, and five more for each small file in it whose checksum the
catalogue does not know. Records are only ever appended; a torn or foreign one is not there.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson

from common.object_storage import UploadedPart

#: Characters of the plan's id that each record carries.
PLAN_MARK = 8


class Checkpoint(Protocol):
    """Keeps one job's records. Thread safe; losing records costs work, never correctness."""

    def load(self) -> list[bytes]:
        """All records, in the order in which they were appended."""

    def append(self, record: bytes) -> None:
        """Keep one more."""

    def clear(self) -> None:
        """Forget all of them."""


class NoUploadLog:
    """The checkpoint of a build that nobody will resume."""

    def load(self) -> list[bytes]:
        return []

    def append(self, record: bytes) -> None:
        del record

    def clear(self) -> None:
        return


@dataclass(frozen=True, slots=True)
class SentPart:
    """A part that the store holds, and the CRC32s of its files that nobody else knows."""

    part: UploadedPart
    crc32s: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class LadderPart:
    """The first part of a ladder's temporary upload."""

    upload_id: str
    part: UploadedPart


@dataclass
class UploadLog:
    """The records of one upload, read back or to be written."""

    checkpoint: Checkpoint
    plan_id: str | None = None
    bucket: str = ""
    key: str = ""
    upload_id: str | None = None
    parts: dict[int, SentPart] = field(default_factory=dict)
    rungs: dict[int, LadderPart] = field(default_factory=dict)

    @classmethod
    def load(cls, checkpoint: Checkpoint) -> UploadLog:
        journal = cls(checkpoint)
        for record in checkpoint.load():
            try:
                kind, plan, *values = orjson.loads(record)
                journal._take(kind, plan, values)
            except (ValueError, TypeError, struct.error):
                continue
        return journal

    def begin(self, plan_id: str, bucket: str, key: str) -> None:
        """Before anything is created: whoever finds only this looks for what came to be."""
        self.plan_id, self.bucket, self.key = plan_id, bucket, key
        self.checkpoint.append(orjson.dumps(("plan", plan_id, bucket, key)))

    def started(self, upload_id: str) -> None:
        self.upload_id = upload_id
        self._write("upload", upload_id)

    def sent(self, part: UploadedPart, crc32s: Sequence[int]) -> None:
        self.parts[part.number] = SentPart(part, tuple(crc32s))
        self._write("part", part.number, part.etag.strip('"'), part.crc32, _packed(crc32s))

    def climbed(self, number: int, upload_id: str, part: UploadedPart) -> None:
        self.rungs[number] = LadderPart(upload_id, part)
        self._write("rung", number, upload_id, part.etag.strip('"'), part.crc32)

    def clear(self) -> None:
        self.checkpoint.clear()
        self.plan_id = self.upload_id = None
        self.parts.clear()
        self.rungs.clear()

    def _write(self, kind: str, *values: Any) -> None:
        # Every record names its plan: a worker that was superseded may still append to the list.
        plan = (self.plan_id or "")[:PLAN_MARK]
        self.checkpoint.append(orjson.dumps((kind, plan, *values)))

    def _take(self, kind: str, plan: str, values: list[Any]) -> None:
        if kind == "plan":
            # A second beginning: whoever made it could not read the first.
            self.plan_id, self.upload_id = plan, None
            self.bucket, self.key = values
            self.parts.clear()
            self.rungs.clear()
        elif self.plan_id is not None and self.plan_id[:PLAN_MARK] == plan:
            self._take_step(kind, values)

    def _take_step(self, kind: str, values: list[Any]) -> None:
        match kind:
            case "upload":
                (self.upload_id,) = values
            case "part":
                number, etag, crc32, packed = values
                part = UploadedPart(number=number, etag=f'"{etag}"', crc32=crc32)
                self.parts[number] = SentPart(part, _unpacked(packed))
            case "rung":
                number, upload_id, etag, crc32 = values
                part = UploadedPart(number=1, etag=f'"{etag}"', crc32=crc32)
                self.rungs[number] = LadderPart(upload_id, part)


def _packed(values: Sequence[int]) -> str:
    return base64.b85encode(struct.pack(f">{len(values)}I", *values)).decode()


def _unpacked(text: str) -> tuple[int, ...]:
    raw = base64.b85decode(text)
    return struct.unpack(f">{len(raw) // 4}I", raw)
