"""Sources that change or lie while an archive is built, on the real S3 server."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from common.errors import FileChanged, ProcessingError
from common.jobs.model import OnMissing
from common.object_storage import BadChecksum, ObjectStorage
from common.sources import source_from_template
from tests.support.archives import RecordingControl, a_request, contents
from worker.archive import build
from worker.archive.zip_format.crc32 import crc32

MIB = 1024 * 1024


class Disturbed:
    """The real store; ``before`` and ``after`` strike around the first call of a name.

    The one is told the key of the file that is to be read, the other what was read of it.
    """

    def __init__(
        self,
        store: ObjectStorage,
        name: str,
        *,
        before: Callable[[str], None] = lambda _: None,
        after: Callable[[memoryview], None] | None = None,
    ) -> None:
        self._store, self._name, self._before, self._after = store, name, before, after

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._store, name)
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


def built(buckets: Any, store: Any, count: int, **request: Any) -> dict[str, bytes]:
    artifact = build(
        a_request(list(range(count)), bucket=buckets.archives, **request),
        source=source_from_template(f"s3://{buckets.sources}/{{file_id}}", store=store),
        storage=store,
        control=RecordingControl(),
    )
    return contents(buckets.read(artifact.key))


@pytest.mark.parametrize(("size", "call"), [(12 * MIB, "upload_part_copy"), (70_000, "read_into")])
def test_a_source_overwritten_meanwhile_fails_the_attempt_and_the_next_one_has_the_new(
    buckets: Any, size: int, call: str
) -> None:
    for file_id in range(2):
        buckets.put(file_id, os.urandom(size), name=f"{file_id}.bin")
    newer = [os.urandom(size), os.urandom(size)]

    def overwrite(_: str) -> None:
        for file_id, data in enumerate(newer):
            buckets.put(file_id, data, name=f"{file_id}.bin")

    with pytest.raises(FileChanged):
        built(buckets, Disturbed(buckets.store, call, before=overwrite), 2)
    assert buckets.leftovers() == []
    assert built(buckets, buckets.store, 2) == {"0.bin": newer[0], "1.bin": newer[1]}


@pytest.mark.parametrize(("size", "call"), [(12 * MIB, "upload_part_copy"), (70_000, "read_into")])
def test_a_source_deleted_meanwhile_is_skipped_by_the_next_attempt(
    buckets: Any, size: int, call: str
) -> None:
    for file_id in range(3):
        buckets.put(file_id, b"%d" % file_id * size, name=f"{file_id}.bin")

    gone = []

    def delete(key: str) -> None:
        gone.append(key)
        buckets.store.delete_objects(buckets.sources, [key])

    store = Disturbed(buckets.store, call, before=delete)
    with pytest.raises(ProcessingError):
        built(buckets, store, 3, on_missing=OnMissing.SKIP)
    held = built(buckets, buckets.store, 3, on_missing=OnMissing.SKIP)
    assert set(held) == {f"{i}.bin" for i in range(3)} - {f"{gone[0]}.bin"} | {"MANIFEST.json"}
    assert buckets.leftovers() == []


def test_a_bit_that_flips_on_the_way_is_caught_by_the_stored_checksum(buckets: Any) -> None:
    data = os.urandom(70_000)
    buckets.store.put_object(
        buckets.sources, "0", data, metadata={"filename": "0.bin"}, crc32=crc32(data)
    )

    def flip(view: memoryview) -> None:
        view[1234] ^= 1

    with pytest.raises(BadChecksum):
        built(buckets, Disturbed(buckets.store, "read_into", after=flip), 1)
    assert buckets.leftovers() == []
    assert built(buckets, buckets.store, 1) == {"0.bin": data}
