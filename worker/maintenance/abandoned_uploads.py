"""Uploads of composed archives that no job knows of.

The answer to "begin an upload" may get lost: the storage has begun one, its id is not known, and
the next try begins another. So what lies at an archive's place, while nobody builds it nor is going
to go on building it, can be of no use to anybody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.job_store.build_lock import RedisBuildLock
from common.job_store.checkpoints import Checkpoints
from worker.archive.composing.upload_log import UploadLog
from worker.archive.planning.archive_plan import PREFIX

if TYPE_CHECKING:
    from redis import Redis

    from common.object_storage import ObjectStorage


def abort_forgotten(client: Redis, store: ObjectStorage, bucket: str) -> int:
    """Throw them away; returns how many. Raises ``RedisError`` and ``DownloadError``."""
    found = store.list_multipart_uploads(bucket, PREFIX)
    # Only now: whoever began one of these uploads has had a checkpoint since before.
    wanted = _plans_at_work(client)
    aborted = 0
    for upload in found:
        plan_id = upload.key.removeprefix(PREFIX).split("/")[0]
        turn = RedisBuildLock(client, plan_id, "upkeep")
        if plan_id not in wanted and turn.acquire():
            store.abort_multipart_upload(bucket, upload.key, upload.upload_id)
            turn.release()
            aborted += 1
    return aborted


def _plans_at_work(client: Redis) -> set[str | None]:
    checkpoints = Checkpoints(client)
    return {UploadLog.load(checkpoints.for_job(job_id)).plan_id for job_id in checkpoints.job_ids()}
