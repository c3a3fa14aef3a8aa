"""A catalogue, a store in memory and one job, all so small that thousands of them fit a test."""

from __future__ import annotations

import random
from typing import Any

from common.sources.s3 import S3Source
from tests.support.archives import RecordingControl, a_request, contents
from tests.support.crashes import MemoryCheckpoint
from tests.support.fake_s3 import FakeS3
from worker.archive import BuildOptions, build
from worker.archive.planning.layout import Geometry

SMALL = Geometry(min_part_size=100, write_size=150, copy_size=400)
WIDTH = 2


class World:
    """A catalogue, a store and one job."""

    def __init__(self, file_sizes: list[int], **store: Any) -> None:
        rng = random.Random(sum(file_sizes))
        self.store = FakeS3(**store)
        self.files = {i: rng.randbytes(size) for i, size in enumerate(file_sizes)}
        for file_id, data in self.files.items():
            self.store.place("files", str(file_id), data, metadata={"filename": f"{file_id}.bin"})
        self.checkpoint = MemoryCheckpoint(self.store)
        self.control = RecordingControl()

    def run(self, *, can_copy: bool = True, **request: Any) -> Any:
        self.control = RecordingControl()
        return build(
            a_request(list(self.files), **request),
            source=S3Source(self.store, bucket="files", key_template="{file_id}"),
            storage=self.store,
            control=self.control,
            options=BuildOptions(checkpoint=self.checkpoint, geometry=SMALL, can_copy=can_copy),
        )

    def archive(self, artifact: Any) -> bytes:
        return self.store.objects["archives", artifact.key].data

    def assert_right(self, artifact: Any) -> None:
        archive = self.archive(artifact)
        assert artifact.size == len(archive)
        assert contents(archive) == {f"{i}.bin": data for i, data in self.files.items()}
        self.assert_nothing_left()

    def assert_nothing_left(self) -> None:
        assert self.store.open_uploads == {}
        assert [key for _, key in self.store.objects if "/parts/" in key] == []
        assert self.checkpoint.records == []
