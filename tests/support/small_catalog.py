"""A catalog, a storage in memory and one job, small enough to run thousands of builds in a test."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from common.sources.s3 import S3Source
from tests.support.archives import RecordingControl, contents, make_request
from tests.support.crashes import MemoryCheckpoint
from tests.support.fake_s3 import FakeS3
from worker.archive import BuildOptions, build
from worker.archive.planning.layout import PartSizes
from worker.archive.planning.members import MANIFEST_NAME

SMALL = PartSizes(min_part_size=100, write_size=150, copy_size=400)
CONCURRENCY = 2


class SmallCatalog:
    """Files in a fake storage, and a job that wants them all."""

    def __init__(self, file_sizes: list[int], **rules: Any) -> None:
        rng = random.Random(sum(file_sizes))
        self.storage = FakeS3(**rules)
        self.files = {i: rng.randbytes(size) for i, size in enumerate(file_sizes)}
        for file_id, data in self.files.items():
            self.storage.add_object(
                "files", str(file_id), data, metadata={"filename": f"{file_id}.bin"}
            )
        self.checkpoint = MemoryCheckpoint(self.storage)
        self.control = RecordingControl()

    def run(
        self,
        *,
        can_copy: bool = True,
        archive_ttl: float = 86_400,
        defer: Callable[[Callable[[], None]], None] = lambda step: step(),
        **request: Any,
    ) -> Any:
        self.control = RecordingControl()
        return build(
            make_request(**{"file_ids": list(self.files), **request}),
            source=S3Source(self.storage, bucket="files", key_template="{file_id}"),
            storage=self.storage,
            control=self.control,
            options=BuildOptions(
                checkpoint=self.checkpoint,
                part_sizes=SMALL,
                can_copy=can_copy,
                archive_ttl=archive_ttl,
                defer=defer,
            ),
        )

    def archive(self, artifact: Any) -> bytes:
        return self.storage.objects["archives", artifact.key].data

    def assert_correct(self, artifact: Any) -> None:
        archive = self.archive(artifact)
        assert artifact.size == len(archive)
        members = contents(archive)
        members.pop(MANIFEST_NAME, None)
        assert members == {f"{i}.bin": data for i, data in self.files.items()}
        self.assert_nothing_left_behind()

    def assert_nothing_left_behind(self) -> None:
        # An upload whose record was lost in a crash is left to the cleanup of the bucket.
        logged = b"".join(self.checkpoint.history)
        assert [id for id in self.storage.open_uploads if f'"{id}"'.encode() in logged] == []
        assert [key for _, key in self.storage.objects if "/parts/" in key] == []
        assert self.checkpoint.records == []
