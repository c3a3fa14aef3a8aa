"""MANIFEST.json: what the archive holds and what it lacks, for jobs that skip missing files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from common.sources import Missing
from worker.archive.planning.members import Member


def render(
    files: Sequence[tuple[Member, int]], missing: Sequence[Missing], checksums: Sequence[int]
) -> bytes:
    """The document for the members with their sizes and CRC32s.

    Its length does not depend on the checksums, so it is known before they are.
    """
    held: list[dict[str, Any]] = [
        {
            "fileId": member.entry.file_id,
            "name": member.name,
            "size": size,
            "checksum": f"crc32:{crc32:08x}",
        }
        for (member, size), crc32 in zip(files, checksums, strict=True)
    ]
    lacking = [
        {"fileId": file.file_id, "code": file.code, "message": file.message} for file in missing
    ]
    return orjson.dumps({"files": held, "missing": lacking}, option=orjson.OPT_INDENT_2) + b"\n"
