"""The log of one multipart upload, so that another attempt can resume it after a crash.

It says which upload belongs to the job and which parts the storage has. A record takes about 90
bytes per part, and five more for each small file whose checksum the source does not give. Records
are only appended; a damaged record, or one of another plan or upload, is ignored.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson

from common.object_storage import UploadedPart
from worker.archive.zip_format.crc32 import crc32

#: The number of characters of the plan's id in each record.
PLAN_ID_PREFIX = 8


class Checkpoint(Protocol):
    """Stores the records of one job. Thread safe; a lost record costs work, not correctness."""

    def load(self) -> list[bytes]:
        """Return all records in the order in which they were appended."""

    def append(self, record: bytes) -> None:
        """Store another record."""

    def clear(self) -> None:
        """Delete all records."""


class NoCheckpoint:
    """The checkpoint of a build that is never resumed."""

    def load(self) -> list[bytes]:
        return []

    def append(self, record: bytes) -> None:
        del record

    def clear(self) -> None:
        return


@dataclass(frozen=True, slots=True)
class LoggedPart:
    """A part that the storage has, and the CRC32s of its files that the source does not give."""

    part: UploadedPart
    crc32s: tuple[int, ...]


@dataclass
class UploadLog:
    """The records of one upload."""

    checkpoint: Checkpoint
    plan_id: str | None = None
    bucket: str = ""
    key: str = ""
    upload_id: str | None = None
    parts: dict[int, LoggedPart] = field(default_factory=dict)

    @classmethod
    def load(cls, checkpoint: Checkpoint) -> UploadLog:
        """Read the log that an earlier attempt wrote."""
        upload_log = cls(checkpoint)
        for record in checkpoint.load():
            try:
                kind, plan, *values = orjson.loads(record)
                upload_log._read(kind, plan, values)
            except (ValueError, TypeError, struct.error):
                continue
        return upload_log

    def begin(self, plan_id: str, bucket: str, key: str) -> None:
        """Record the plan before anything is created, so that a cleanup knows where to search."""
        self.plan_id, self.bucket, self.key = plan_id, bucket, key
        self.checkpoint.append(orjson.dumps(("plan", plan_id, bucket, key)))

    def add_upload(self, upload_id: str) -> None:
        """Record the archive's own upload, which has no parts yet."""
        self.upload_id = upload_id
        self.parts.clear()
        self._append("upload", upload_id)

    def add_part(self, part: UploadedPart, crc32s: Sequence[int]) -> None:
        """Record a part that the storage has."""
        self.parts[part.number] = LoggedPart(part, tuple(crc32s))
        self._append("part", part.number, part.etag.strip('"'), part.crc32, _packed(crc32s))

    def clear(self) -> None:
        """Delete all records."""
        self.checkpoint.clear()
        self.plan_id = self.upload_id = None
        self.parts.clear()

    def _append(self, kind: str, *values: Any) -> None:
        self.checkpoint.append(orjson.dumps((kind, self._owner(kind), *values)))

    def _owner(self, kind: str) -> str:
        """Return what a record belongs to: that of a part to the upload, others to the plan.

        Every record names it, because a worker that lost its lease may still append, and because
        the records before it may have been lost.
        """
        if kind == "part" and self.upload_id is not None:
            return f"{crc32(self.upload_id.encode()):08x}"
        return (self.plan_id or "")[:PLAN_ID_PREFIX]

    def _read(self, kind: str, owner: str, values: list[Any]) -> None:
        if kind == "plan":
            # A second plan means that the attempt that wrote it could not read the first one.
            self.plan_id, self.upload_id = owner, None
            self.bucket, self.key = values
            self.parts.clear()
        elif self.plan_id is not None and owner == self._owner(kind):
            self._read_step(kind, values)

    def _read_step(self, kind: str, values: list[Any]) -> None:
        match kind:
            case "upload":
                (self.upload_id,) = values
                self.parts.clear()
            case "part":
                number, etag, crc32, packed = values
                part = UploadedPart(number=number, etag=f'"{etag}"', crc32=crc32)
                self.parts[number] = LoggedPart(part, _unpacked(packed))


def _packed(values: Sequence[int]) -> str:
    return base64.b85encode(struct.pack(f">{len(values)}I", *values)).decode()


def _unpacked(text: str) -> tuple[int, ...]:
    raw = base64.b85decode(text)
    return struct.unpack(f">{len(raw) // 4}I", raw)
