"""Whether a file can be had, by one question to where it lies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import HTTPError

from common.errors import BackendUnavailable, SourceForbidden
from common.object_storage import NoSuchKey
from common.object_storage.content_disposition import filename_of, object_name

if TYPE_CHECKING:
    from common.object_storage import ObjectStorage

#: Seconds to wait for a source.
TIMEOUT: Final = 1.5


@dataclass(frozen=True, kw_only=True)
class Found:
    """A file that is there. ``size`` in bytes."""

    size: int | None
    name: str | None


class Catalogue:
    """Where the files lie: one URL template, ``s3://bucket/key`` or ``https://host/path``."""

    def __init__(self, storage: ObjectStorage, template: str) -> None:
        self._storage = storage
        self._template = template
        self._http = urllib3.PoolManager(
            timeout=urllib3.Timeout(total=TIMEOUT), retries=urllib3.Retry(2, status=0)
        )

    def find(self, file_id: int) -> Found | None:
        """The file, or None when it cannot be had.

        Raises ``DownloadError`` or ``BackendUnavailable`` when its place does not answer.
        """
        url = self._template.format(file_id=file_id)
        parts = urlsplit(url)
        if parts.scheme == "s3":
            return self._in_storage(parts.netloc, parts.path.lstrip("/"))
        return self._on_the_web(url)

    def _in_storage(self, bucket: str, key: str) -> Found | None:
        try:
            info = self._storage.head_object(bucket, key, timeout=TIMEOUT)
        except (NoSuchKey, SourceForbidden):
            return None
        return Found(size=info.size, name=object_name(info))

    def _on_the_web(self, url: str) -> Found | None:
        try:
            answer = self._http.request("HEAD", url)
        except HTTPError as error:
            raise BackendUnavailable("The source of the files does not answer") from error
        if answer.status >= 500 or answer.status == 429:
            raise BackendUnavailable("The source of the files is not available")
        if answer.status >= 400:
            return None
        size = answer.headers.get("Content-Length", "")
        name = filename_of(answer.headers.get("Content-Disposition", ""))
        return Found(
            size=int(size) if size.isdecimal() else None,
            name=name or urlsplit(url).path.rpartition("/")[2] or None,
        )
