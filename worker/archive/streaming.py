"""The fallback: sends the parts of ``stream.py`` as one multipart upload."""

from __future__ import annotations

from collections.abc import Sequence

from common.errors import FileTooLarge
from common.object_storage import UploadedPart
from common.sources import Missing
from worker.archive.composing.state import BuildTools, StoredArchive
from worker.archive.planning.members import Member
from worker.archive.request import ZIP_TYPE, BuildRequest
from worker.archive.zip_format.crc32 import crc32, join
from worker.archive.zip_stream import StreamedPart, Streamer, capacity

#: Threads: one reads and fills the next part while the others send theirs.
WIDTH = 3


def stream_archive(
    members: Sequence[Member],
    missing: Sequence[Missing] | None,
    *,
    key: str,
    request: BuildRequest,
    tools: BuildTools,
    equal: bool,
) -> StoredArchive:
    """Write the archive to ``key``, in parts of one size if they have to be ``equal``.

    On every way out but success the upload is aborted.
    """
    task_group, store, control = tools.task_group, tools.store, tools.control
    if sum(member.entry.size or 0 for member in members) > capacity(equal=equal):
        raise FileTooLarge("The files are too large together for one archive")
    streamer = Streamer(
        source=tools.source,
        members=members,
        missing=missing,
        max_bytes=request.max_bytes,
        equal=equal,
        pace=tools.pace,
        cancellation=task_group.cancellation,
        progress=control.advance,
        finished=lambda member, size: control.file_done(
            member.entry.file_id, state="done", size=size, name=member.name
        ),
    )
    bucket = request.bucket
    upload_id = store.create_multipart_upload(bucket, key, content_type=ZIP_TYPE)
    sent: dict[int, tuple[UploadedPart, int]] = {}

    def send(part: StreamedPart) -> None:
        content = part.content
        answer = store.upload_part(
            bucket,
            key,
            upload_id,
            part.number,
            content,
            crc32=crc32(content),
            cancellation=task_group.cancellation,
        )
        sent[part.number] = (answer, len(content))

    try:
        task_group.each(send, streamer.parts(), width=WIDTH)
        rows = [sent[number] for number in sorted(sent)]
        checksum = join((part.crc32 or 0, length) for part, length in rows)
        size = sum(length for _, length in rows)
        etag = task_group.call(
            lambda: store.complete_multipart_upload(
                bucket, key, upload_id, [part for part, _ in rows],
                crc32=checksum, size=size, cancellation=task_group.cancellation,
            )
        )  # fmt: skip
    except BaseException:
        store.abort_multipart_upload(bucket, key, upload_id)
        raise
    return StoredArchive(key=key, size=size, crc32=checksum, etag=etag)
