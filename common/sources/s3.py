"""Files that are objects in S3, on the same endpoint as the archives."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from common.errors import SourceForbidden
from common.object_storage import Cancellation, NoSuchKey, ObjectStorage
from common.object_storage.content_disposition import object_name
from common.sources.base import FileDescription, Fill, Missing, SourceFile
from common.sources.s3_listing import Listing
from common.task_group import TaskGroup

#: HEADs that wait for their answers at the same time.
HEADS = 64


class S3Source:
    """``bucket`` and ``key_template``, in which ``{file_id}`` stands for the id."""

    def __init__(self, store: ObjectStorage, *, bucket: str, key_template: str) -> None:
        self._store = store
        self._bucket = bucket
        self._key_template = key_template

    def key(self, file_id: int) -> str:
        return self._key_template.format(file_id=file_id)

    def describe(
        self,
        file_ids: Sequence[int],
        task_group: TaskGroup,
        *,
        known: Mapping[int, SourceFile],
    ) -> list[FileDescription]:
        answers: dict[int, FileDescription] = {}
        if known:
            listing = Listing(self._store, self._bucket, task_group.cancellation)
            answers.update(task_group.call(lambda: self._unchanged(file_ids, known, listing)))

        def ask(file_id: int) -> None:
            answers[file_id] = self._ask(file_id, task_group.cancellation)

        unknown = [file_id for file_id in file_ids if file_id not in answers]
        task_group.each(ask, unknown, width=min(HEADS, len(unknown)))
        return [answers[file_id] for file_id in file_ids]

    def read_into(
        self,
        entry: SourceFile,
        view: memoryview,
        *,
        start: int,
        cancellation: Cancellation,
        progress: Callable[[int], None],
    ) -> None:
        self._store.read_into(
            self._bucket, self.key(entry.file_id), view,
            start=start, if_match=entry.etag, cancellation=cancellation, progress=progress,
        )  # fmt: skip

    @contextmanager
    def open(
        self, entry: SourceFile, *, cancellation: Cancellation, progress: Callable[[int], None]
    ) -> Iterator[Fill]:
        position = 0

        def fill(view: memoryview) -> int:
            nonlocal position
            view = view[: max(0, (entry.size or 0) - position)]
            self.read_into(
                entry, view, start=position, cancellation=cancellation, progress=progress
            )
            position += len(view)
            return len(view)

        yield fill

    def _origin(self, file_id: int) -> str:
        return f"s3://{self._bucket}/{self.key(file_id)}"

    def _unchanged(
        self, file_ids: Sequence[int], known: Mapping[int, SourceFile], listing: Listing
    ) -> dict[int, SourceFile]:
        keys = {
            self.key(file_id): known[file_id]
            for file_id in file_ids
            if file_id in known and known[file_id].origin == self._origin(file_id)
        }
        return {
            keys[found.key].file_id: keys[found.key]
            for found in listing.find(keys)
            if (found.etag, found.size, found.modified)
            == (keys[found.key].etag, keys[found.key].size, keys[found.key].modified)
        }

    def _ask(self, file_id: int, cancellation: Cancellation) -> FileDescription:
        key = self.key(file_id)
        try:
            info = self._store.head_object(self._bucket, key, cancellation=cancellation)
        except NoSuchKey:
            return Missing(
                file_id=file_id, code="FILE_NOT_FOUND", message=f"File {file_id} does not exist"
            )
        except SourceForbidden:
            return Missing(
                file_id=file_id, code="PERMISSION_DENIED", message=f"File {file_id} is not readable"
            )
        return SourceFile(
            file_id=file_id,
            origin=self._origin(file_id),
            name=object_name(info),
            size=info.size,
            etag=info.etag,
            modified=info.modified,
            content_type=info.content_type,
            crc32=info.crc32,
            location=(self._bucket, key),
        )
