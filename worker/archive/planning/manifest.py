"""MANIFEST.json: lists the archive's files and the missing ones.

It is added for jobs that skip missing files, and for those that ask for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from common.sources.files import Missing
from worker.archive.planning.members import Member


def render_manifest(
    files: Sequence[tuple[Member, int]], missing: Sequence[Missing], checksums: Sequence[int]
) -> bytes:
    """Return the document for members with their sizes and CRC32s.

    Its length does not depend on the checksums, so that the layout can be planned before they
    are known.
    """
    present: list[dict[str, Any]] = [
        {
            "fileId": member.file.file_id,
            "name": member.name,
            "size": size,
            "checksum": f"crc32:{crc32:08x}",
            **({"sha256": member.file.sha256} if member.file.sha256 else {}),
        }
        for (member, size), crc32 in zip(files, checksums, strict=True)
    ]
    absent = [
        {"fileId": file.file_id, "code": file.code, "message": file.message} for file in missing
    ]
    return orjson.dumps({"files": present, "missing": absent}, option=orjson.OPT_INDENT_2) + b"\n"
