"""The real S3 server without features that other servers lack."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any, Self

import pytest

from common.object_storage import ObjectStorage, StorageProfile, UploadedPart
from tests.support.archives import RecordingControl, contents, make_request
from worker.archive import BuildOptions, build
from worker.archive.planning.layout import MIB, PartSizes
from worker.archive.storage_probe import probe_storage


class LimitedStorage:
    """Returns no checksums of copies, and records the sizes of uploaded parts."""

    def __init__(self, storage: ObjectStorage) -> None:
        self._storage = storage
        self.copies = 0
        self.sizes: dict[int, int] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def with_profile(self, profile: StorageProfile) -> Self:
        return type(self)(self._storage.with_profile(profile))

    def upload_part_copy(self, *args: Any, **kwargs: Any) -> UploadedPart:
        self.copies += 1
        return replace(self._storage.upload_part_copy(*args, **kwargs), crc32=None)

    def upload_part(
        self, bucket: str, key: str, upload: str, number: int, body: Any, **kwargs: Any
    ) -> UploadedPart:
        self.sizes[number] = len(body)
        return self._storage.upload_part(bucket, key, upload, number, body, **kwargs)


@pytest.fixture
def files(buckets: Any) -> dict[str, bytes]:
    rng = random.Random(6)
    files = {f"{i}.bin": rng.randbytes(n) for i, n in enumerate([11 * MIB, 300, 6 * MIB, 7 * MIB])}
    for i, (name, data) in enumerate(files.items()):
        buckets.put(i, data, name=name)
    return files


def build_contents(
    buckets: Any, storage: LimitedStorage, options: BuildOptions
) -> dict[str, bytes]:
    artifact = build(
        make_request(list(range(4)), bucket=buckets.archives),
        source=buckets.source(), storage=storage, control=RecordingControl(), options=options,
    )  # fmt: skip
    assert buckets.unfinished() == []
    return contents(buckets.read(artifact.key))


def test_copied_ranges_are_read_if_copies_return_no_checksum(
    buckets: Any, files: dict[str, bytes]
) -> None:
    storage = LimitedStorage(buckets.storage)
    assert not probe_storage(storage, buckets.archives).copy_checksum
    storage.copies = 0
    assert build_contents(buckets, storage, BuildOptions()) == files
    assert storage.copies > 0


def test_equal_parts_have_equal_sizes(buckets: Any, files: dict[str, bytes]) -> None:
    storage = LimitedStorage(buckets.storage)
    options = BuildOptions(can_copy=False, part_sizes=PartSizes(equal_parts=True))
    assert build_contents(buckets, storage, options) == files
    *rest, last = (storage.sizes[number] for number in sorted(storage.sizes))
    assert set(rest) == {PartSizes().write_size}
    assert 0 < last <= PartSizes().write_size
    assert storage.copies == 0
