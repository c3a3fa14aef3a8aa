"""Many objects by few requests, as long as they stand close together in the bucket."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from common.object_storage import Cancellation, ListedObject, ObjectStorage

PAGE = 1000
#: Of the objects on a page so many must be wanted ones, or asking for each is cheaper.
WORTH_IT = 50


class Listing:
    """Walks through a bucket from one wanted key to the next."""

    def __init__(self, store: ObjectStorage, bucket: str, cancellation: Cancellation) -> None:
        self._store = store
        self._bucket = bucket
        self._cancellation = cancellation

    def find(self, keys: Iterable[str]) -> Iterator[ListedObject]:
        """Those of the objects that listing finds cheaply; the others may exist all the same."""
        wanted = sorted(keys, key=str.encode)
        while len(wanted) >= WORTH_IT:
            page = self._store.list_objects_v2(
                self._bucket,
                start_after=_before(wanted[0]),
                limit=PAGE,
                cancellation=self._cancellation,
            )
            names = set(wanted)
            hits = [item for item in page if item.key in names]
            yield from hits
            if len(page) < PAGE or len(hits) < WORTH_IT:
                return
            end = page[-1].key.encode()
            wanted = [key for key in wanted if key.encode() > end]


def _before(key: str) -> str:
    """A key right before ``key``, since a listing starts behind the one that it is given."""
    return f"{key[:-1]}{chr(max(1, ord(key[-1]) - 1))}~"
