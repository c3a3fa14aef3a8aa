"""The log of counted downloads, which the history reads and empties.

Its length is limited, so that a history that is unavailable cannot fill the store. The number of
downloads of a job is in its hash and does not depend on the log.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from common.job_store import keys
from common.job_store.cluster import pipeline_for
from common.job_store.download_links import link_id
from common.jobs.model import CountedDownload

if TYPE_CHECKING:
    from redis import Redis


class DownloadLog:
    """The log of all partitions. Raises ``RedisError`` when the store is unavailable."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._streams = [keys.of_partition("downloads", tag) for tag in keys.all_tags()]

    def read(self, *, count: int) -> list[CountedDownload]:
        """Return the oldest entries, up to ``count`` of each partition; they stay in the log."""
        with self._client.pipeline(transaction=False) as pipe:
            for stream in self._streams:
                pipeline_for(pipe, stream).xrange(stream, count=count)
            return [_download(*entry) for entries in pipe.execute() for entry in entries]

    def delete(self, downloads: Sequence[CountedDownload]) -> None:
        """Delete entries that are recorded."""
        with self._client.pipeline(transaction=False) as pipe:
            for download in downloads:
                stream = keys.of_partition("downloads", keys.tag_of_job(download.job_id))
                pipeline_for(pipe, stream).xdel(stream, download.entry)
            pipe.execute()


def _download(entry: str, values: dict[str, Any]) -> CountedDownload:
    return CountedDownload(
        entry=entry,
        at=int(entry.partition("-")[0]),
        job_id=values["job"],
        link_id=link_id(values["link"]) or None,
        network=values["network"],
    )
