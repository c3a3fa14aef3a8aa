"""Lists the objects below one of our prefixes, which may have more than one run can read."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from itertools import chain, islice

from common.object_storage import ObjectPage, ObjectStorage

#: Objects in one ListObjectsV2 response, and responses read in one run.
PAGE_SIZE = 1_000
MAX_PAGES = 100


def pages_below(storage: ObjectStorage, bucket: str, prefix: str) -> Iterator[ObjectPage]:
    """Yield the objects below a prefix page by page, at most ``MAX_PAGES``.

    Our prefixes are followed by random hex digits. So a run starts at a random key and wraps
    around: what one run does not reach, others do, and no position has to be stored.
    """
    start = prefix + secrets.token_hex(4)
    pages = chain(
        _pages(storage, bucket, prefix, after=start),
        _pages(storage, bucket, prefix, until=start),
    )
    return islice(pages, MAX_PAGES)


def _pages(
    storage: ObjectStorage, bucket: str, prefix: str, *, after: str = "", until: str | None = None
) -> Iterator[ObjectPage]:
    while True:
        page = storage.list_objects_v2(bucket, prefix=prefix, start_after=after, limit=PAGE_SIZE)
        yield page
        if not page.is_truncated or (until is not None and page[-1].key >= until):
            return
        after = page[-1].key
