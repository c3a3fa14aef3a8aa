"""Where files come from: ``SOURCE_URL_TEMPLATE`` names the place, its scheme the kind."""

from __future__ import annotations

import string
from urllib.parse import urlsplit

from common.object_storage import ObjectStorage
from common.object_storage.endpoints import check_bucket_name
from common.sources.base import Source
from common.sources.files import FileDescription, Missing, SourceFile
from common.sources.host_limits import NO_LIMITS, HostLimits
from common.sources.http import HttpSource
from common.sources.s3 import S3Source

__all__ = [
    "FileDescription",
    "HostLimits",
    "Missing",
    "Source",
    "SourceFile",
    "source_from_template",
    "source_host",
]


def source_from_template(
    template: str,
    *,
    storage: ObjectStorage,
    redirect_hosts: frozenset[str] = frozenset(),
    authorization: str | None = None,
    limits: HostLimits = NO_LIMITS,
) -> Source:
    """Return the source of ``s3://bucket/{file_id}`` or ``https://host/{file_id}``.

    The last three arguments are for HTTP. Raise ValueError for an invalid template.
    """
    if _fields(template) != {"file_id"}:
        raise ValueError("SOURCE_URL_TEMPLATE must contain {file_id} and no other {field}")
    parts = urlsplit(template)
    if parts.scheme == "s3" and parts.netloc and parts.path.strip("/"):
        check_bucket_name(parts.netloc)
        # Everything behind the bucket is the key, also `?` and `#`.
        key_template = template.removeprefix(f"s3://{parts.netloc}").lstrip("/")
        return S3Source(storage, bucket=parts.netloc, key_template=key_template)
    if parts.scheme in ("http", "https") and parts.netloc:
        return HttpSource(
            template, redirect_hosts=redirect_hosts, authorization=authorization, limits=limits
        )
    raise ValueError("SOURCE_URL_TEMPLATE must begin with s3://bucket/ or https://host/")


def source_host(template: str) -> str | None:
    """Return the host of an HTTP source; None for files in the object storage."""
    parts = urlsplit(template)
    return None if parts.scheme == "s3" else parts.netloc


def _fields(template: str) -> set[str | None]:
    try:
        return {field for _, field, _, _ in string.Formatter().parse(template)} - {None}
    except ValueError:
        return set()
