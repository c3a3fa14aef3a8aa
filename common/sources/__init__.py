"""Where files come from: ``SOURCE_URL_TEMPLATE`` names the place, its scheme the kind."""

from __future__ import annotations

from urllib.parse import urlsplit

from common.object_storage import ObjectStorage
from common.sources.base import FileDescription, Missing, Source, SourceFile
from common.sources.http import HttpSource
from common.sources.s3 import S3Source

__all__ = ["FileDescription", "Missing", "Source", "SourceFile", "source_from_template"]


def source_from_template(
    template: str,
    *,
    store: ObjectStorage,
    redirect_hosts: frozenset[str] = frozenset(),
    authorization: str | None = None,
) -> Source:
    """The source that ``template`` names: ``s3://bucket/{file_id}`` or ``https://host/{file_id}``.

    The keywords but ``store`` are for HTTP, see ``http.py``. Raises ValueError for a template that
    is none.
    """
    if "{file_id}" not in template:
        raise ValueError("SOURCE_URL_TEMPLATE must hold {file_id}")
    parts = urlsplit(template)
    if parts.scheme == "s3" and parts.netloc and parts.path.strip("/"):
        return S3Source(store, bucket=parts.netloc, key_template=parts.path.lstrip("/"))
    if parts.scheme in ("http", "https") and parts.netloc:
        return HttpSource(template, redirect_hosts=redirect_hosts, authorization=authorization)
    raise ValueError("SOURCE_URL_TEMPLATE must begin with s3://bucket/ or https://host/")
