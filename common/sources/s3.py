"""Files that are objects in S3, on the same endpoint as the archives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from common.errors import (
    FileChanged,
    FileNotFound,
    PermanentDownloadError,
    SourceForbidden,
    StorageError,
)
from common.object_storage import (
    Cancellation,
    ListedObject,
    NoSuchKey,
    ObjectInfo,
    ObjectStorage,
)
from common.object_storage.content_disposition import object_name
from common.sources.base import Fill
from common.sources.content_coding import BLOCK, Decoder, coded_name, needs_decoding, parse_coding
from common.sources.files import FileDescription, Missing, SourceFile
from common.task_group import TaskGroup

#: HEAD requests at the same time.
MAX_CONCURRENT_HEADS = 64
#: Objects in one response of ListObjectsV2.
PAGE_SIZE: Final = 1000
#: Fewer wanted objects than this on a page: a HEAD for each one is cheaper.
MIN_HITS_PER_PAGE: Final = 50


class S3Source:
    """Objects of one bucket; ``{file_id}`` in ``key_template`` stands for the id."""

    def __init__(self, storage: ObjectStorage, *, bucket: str, key_template: str) -> None:
        self._storage = storage
        self._bucket = bucket
        self._key_template = key_template

    def key(self, file_id: int) -> str:
        """Return the key of a file."""
        return self._key_template.format(file_id=file_id)

    def describe(
        self,
        file_ids: Sequence[int],
        task_group: TaskGroup,
        *,
        cached: Mapping[int, SourceFile],
    ) -> list[FileDescription]:
        """Return one description for each id; list objects instead if ``cached`` has many."""
        descriptions: dict[int, FileDescription] = {}
        cancellation = task_group.cancellation
        if cached:
            descriptions.update(
                task_group.call(lambda: self._unchanged(file_ids, cached, cancellation))
            )

        def describe(file_id: int) -> None:
            try:
                descriptions[file_id] = self._describe(file_id, cancellation)
            except PermanentDownloadError as error:
                descriptions[file_id] = Missing.because_of(error, file_id)

        remaining = [file_id for file_id in file_ids if file_id not in descriptions]
        task_group.each(describe, remaining, concurrency=min(MAX_CONCURRENT_HEADS, len(remaining)))
        return [descriptions[file_id] for file_id in file_ids]

    def read_into(
        self,
        file: SourceFile,
        view: memoryview,
        *,
        start: int,
        cancellation: Cancellation,
        progress: Callable[[int], None],
    ) -> None:
        """Fill ``view`` with the object's bytes from ``start`` on."""
        self._storage.read_into(
            self._bucket, self.key(file.file_id), view,
            start=start, if_match=file.etag, cancellation=cancellation, progress=progress,
        )  # fmt: skip

    @contextmanager
    def open(
        self, file: SourceFile, *, cancellation: Cancellation, progress: Callable[[int], None]
    ) -> Iterator[Fill]:
        """Read the whole object, and decode it if it is stored with a content coding."""
        size, coding = file.size or 0, None
        if file.size is None:
            info = self._head(file.file_id, cancellation)
            if info.etag != file.etag:
                raise FileChanged
            size, coding = info.size, parse_coding(info.content_encoding)
        position = 0

        def fill(view: memoryview) -> int:
            nonlocal position
            view = view[: max(0, size - position)]
            self.read_into(file, view, start=position, cancellation=cancellation, progress=progress)
            position += len(view)
            return len(view)

        yield _decoding(coding, fill) if coding else fill

    def _unchanged(
        self, file_ids: Sequence[int], cached: Mapping[int, SourceFile], cancellation: Cancellation
    ) -> dict[int, SourceFile]:
        """Return the cached descriptions that a listing shows to be still correct."""
        files = {
            self.key(file_id): cached[file_id]
            for file_id in file_ids
            if file_id in cached and cached[file_id].origin == self._origin(file_id)
        }
        return {
            files[listed.key].file_id: files[listed.key]
            for listed in self._list(files, cancellation)
            if (listed.etag, listed.size, listed.modified)
            == (files[listed.key].etag, files[listed.key].size, files[listed.key].modified)
        }

    def _list(self, keys: Iterable[str], cancellation: Cancellation) -> Iterator[ListedObject]:
        """Yield the objects that few listings find. Others may exist, too."""
        wanted = sorted(keys, key=str.encode)
        while len(wanted) >= MIN_HITS_PER_PAGE:
            try:
                page = self._storage.list_objects_v2(
                    self._bucket,
                    start_after=_key_before(wanted[0]),
                    limit=PAGE_SIZE,
                    cancellation=cancellation,
                )
            except (SourceForbidden, StorageError):
                # HEAD requests replace the listing, also for a role without s3:ListBucket.
                return
            names = set(wanted)
            hits = [listed for listed in page if listed.key in names]
            yield from hits
            if not page.is_truncated or len(hits) < MIN_HITS_PER_PAGE:
                return
            end = page[-1].key.encode()
            wanted = [key for key in wanted if key.encode() > end]

    def _describe(self, file_id: int, cancellation: Cancellation) -> SourceFile:
        info = self._head(file_id, cancellation)
        coding, name = parse_coding(info.content_encoding), object_name(info)
        stored_as_is = not needs_decoding(coding, name)
        return SourceFile(
            file_id=file_id,
            origin=self._origin(file_id),
            name=coded_name(coding, name),
            size=info.size if stored_as_is else None,
            etag=info.etag,
            modified=info.modified,
            content_type=info.content_type,
            crc32=info.crc32 if stored_as_is else None,
            sha256=info.sha256 if stored_as_is else None,
            # A copy, or a link to the object itself, would deliver the encoded bytes.
            location=(self._bucket, info.key) if coding is None else None,
            ranged=stored_as_is,
        )

    def _head(self, file_id: int, cancellation: Cancellation) -> ObjectInfo:
        try:
            return self._storage.head_object(
                self._bucket, self.key(file_id), cancellation=cancellation
            )
        except NoSuchKey:
            raise FileNotFound from None

    def _origin(self, file_id: int) -> str:
        return f"s3://{self._bucket}/{self.key(file_id)}"


def _decoding(coding: str, fill: Fill) -> Fill:
    buffer = memoryview(bytearray(BLOCK))
    decoder = Decoder(coding, lambda limit: bytes(buffer[: fill(buffer[:limit])]))

    def fill_decoded(view: memoryview) -> int:
        done = 0
        while done < len(view) and (block := decoder.read(len(view) - done)):
            view[done : done + len(block)] = block
            done += len(block)
        return done

    return fill_decoded


def _key_before(key: str) -> str:
    """Return a key right before ``key``: a listing starts behind the one that it is given."""
    return f"{key[:-1]}{chr(max(1, ord(key[-1]) - 1))}~"
