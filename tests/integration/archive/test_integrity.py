"""Sources that change while an archive is built, on a real S3 server."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from common.errors import FileChanged, ProcessingError
from common.jobs.model import OnMissing
from common.object_storage import BadChecksum, ObjectStorage
from common.sources import source_from_template
from tests.support.archives import RecordingControl, contents, make_request
from worker.archive import build
from worker.archive.zip_format.crc32 import crc32

MIB = 1024 * 1024


class DisturbedStorage:
    """The real storage, with functions that run before and after the first call of a name.

    ``before`` gets the key of the file that is read, ``after`` the bytes that were read.
    """

    def __init__(
        self,
        storage: ObjectStorage,
        name: str,
        *,
        before: Callable[[str], None] = lambda _: None,
        after: Callable[[memoryview], None] | None = None,
    ) -> None:
        self._storage, self._name, self._before, self._after = storage, name, before, after

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._storage, name)
        if name != self._name:
            return real
        self._name = ""

        def call(*args: Any, **kwargs: Any) -> Any:
            self._before(kwargs.get("source", args)[1])
            result = real(*args, **kwargs)
            if self._after is not None:
                self._after(args[2])
            return result

        return call


def build_contents(buckets: Any, storage: Any, count: int, **request: Any) -> dict[str, bytes]:
    artifact = build(
        make_request(list(range(count)), bucket=buckets.archives, **request),
        source=source_from_template(f"s3://{buckets.sources}/{{file_id}}", storage=storage),
        storage=storage,
        control=RecordingControl(),
    )
    return contents(buckets.read(artifact.key))


@pytest.mark.parametrize(("size", "call"), [(12 * MIB, "upload_part_copy"), (70_000, "read_into")])
def test_a_file_that_is_overwritten_fails_the_attempt_and_the_next_one_uses_the_new_version(
    buckets: Any, size: int, call: str
) -> None:
    for file_id in range(2):
        buckets.put(file_id, os.urandom(size), name=f"{file_id}.bin")
    new = [os.urandom(size), os.urandom(size)]

    def overwrite(_: str) -> None:
        for file_id, data in enumerate(new):
            buckets.put(file_id, data, name=f"{file_id}.bin")

    with pytest.raises(FileChanged):
        build_contents(buckets, DisturbedStorage(buckets.storage, call, before=overwrite), 2)
    assert buckets.unfinished() == []
    assert build_contents(buckets, buckets.storage, 2) == {"0.bin": new[0], "1.bin": new[1]}


@pytest.mark.parametrize(("size", "call"), [(12 * MIB, "upload_part_copy"), (70_000, "read_into")])
def test_the_next_attempt_skips_a_file_that_was_deleted(buckets: Any, size: int, call: str) -> None:
    for file_id in range(3):
        buckets.put(file_id, b"%d" % file_id * size, name=f"{file_id}.bin")

    deleted = []

    def delete(key: str) -> None:
        deleted.append(key)
        buckets.storage.delete_objects(buckets.sources, [key])

    storage = DisturbedStorage(buckets.storage, call, before=delete)
    with pytest.raises(ProcessingError):
        build_contents(buckets, storage, 3, on_missing=OnMissing.SKIP)
    members = build_contents(buckets, buckets.storage, 3, on_missing=OnMissing.SKIP)
    assert set(members) == {f"{i}.bin" for i in range(3)} - {f"{deleted[0]}.bin"} | {
        "MANIFEST.json"
    }
    assert buckets.unfinished() == []


def test_the_stored_checksum_detects_a_bit_that_flips_in_transit(buckets: Any) -> None:
    data = os.urandom(70_000)
    buckets.storage.put_object(
        buckets.sources, "0", data, metadata={"filename": "0.bin"}, crc32=crc32(data)
    )

    def flip(view: memoryview) -> None:
        view[1234] ^= 1

    with pytest.raises(BadChecksum):
        build_contents(buckets, DisturbedStorage(buckets.storage, "read_into", after=flip), 1)
    assert buckets.unfinished() == []
    assert build_contents(buckets, buckets.storage, 1) == {"0.bin": data}
