"""Where files come from: ``SOURCE_URL_TEMPLATE`` names the place, its scheme the kind."""

from __future__ import annotations

from urllib.parse import urlsplit

from common.storage import ObjectStore
from worker.sources.entry import Described, Missing, Source, SourceEntry
from worker.sources.s3 import S3Source

__all__ = ["Described", "Missing", "Source", "SourceEntry", "source_from_template"]


def source_from_template(template: str, *, store: ObjectStore) -> Source:
    """The source that ``template`` names, such as ``s3://files/{file_id}``.

    Raises ValueError for a scheme that is not known or a template without ``{file_id}``.
    """
    if "{file_id}" not in template:
        raise ValueError("SOURCE_URL_TEMPLATE must hold {file_id}")
    parts = urlsplit(template)
    if parts.scheme == "s3" and parts.netloc and parts.path.strip("/"):
        return S3Source(store, bucket=parts.netloc, key_template=parts.path.lstrip("/"))
    raise ValueError("SOURCE_URL_TEMPLATE must begin with s3://bucket/")
