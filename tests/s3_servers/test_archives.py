"""What the archive engine promises, on S3 servers of others: ``make test-s3``."""

from __future__ import annotations

import random
import threading
import urllib.request
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from common.errors import DownloadError
from tests.s3_servers.conftest import ServerUnderTest
from tests.support.archives import RecordingControl, contents, make_request
from tests.support.crashes import Crash, MemoryCheckpoint
from tests.support.crashes import CrashPoints as Counter
from worker.archive import build
from worker.archive.build import BuildOptions
from worker.archive.zip_format.crc32 import crc32

MB = 1_000_000
#: Large files become copies, small ones written parts.
SIZES = [6 * MB] * 3 + [300, 0, 13 * MB, 40_000]

pytestmark = pytest.mark.timeout(300)


class Interfering:
    """The storage of a build, with a function that runs before every call."""

    def __init__(self, storage: Any, before: Any) -> None:
        self._storage, self._before = storage, before

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._storage, name)
        if not callable(real):
            return real

        def call(*args: Any, **kwargs: Any) -> Any:
            self._before(name, args)
            return real(*args, **kwargs)

        return call


def put_files(
    tested: ServerUnderTest, bucket: str, sizes: list[int], seed: int = 1
) -> dict[int, bytes]:
    rng = random.Random(seed)
    files = {file_id: rng.randbytes(size) for file_id, size in enumerate(sizes)}
    for file_id, data in files.items():
        put_file(tested, bucket, file_id, data)
    return files


def put_file(tested: ServerUnderTest, bucket: str, file_id: int, data: bytes) -> None:
    """Put a file with its checksum, as today's SDKs do."""
    tested.storage.put_object(
        bucket, str(file_id), data, metadata={"filename": f"{file_id}.bin"}, crc32=crc32(data)
    )


def run(
    tested: ServerUnderTest, bucket: str, count: int, *, storage: Any = None,
    options: BuildOptions | None = None,
) -> Any:  # fmt: skip
    return build(
        make_request(list(range(count)), bucket=tested.archives),
        source=tested.source(bucket),
        storage=storage or tested.storage,
        control=RecordingControl(),
        options=options or tested.options(),
    )


def archive(tested: ServerUnderTest, artifact: Any) -> dict[str, bytes]:
    data = tested.read(tested.archives, artifact.key)
    assert len(data) == artifact.size
    return contents(data)


def expected(files: dict[int, bytes]) -> dict[str, bytes]:
    return {f"{file_id}.bin": data for file_id, data in files.items()}


def by_key(files: dict[int, bytes]) -> dict[str, bytes]:
    return {str(file_id): data for file_id, data in files.items()}


def test_the_server_has_the_profile_in_the_documentation(tested: ServerUnderTest) -> None:
    assert tested.profile.to_dict() == tested.server.profile
    assert tested.has_lifecycle is tested.server.has_lifecycle


def test_an_archive_contains_all_files_and_nothing_else_remains(tested: ServerUnderTest) -> None:
    bucket = tested.new_bucket()
    files = put_files(tested, bucket, SIZES)
    copies: list[str] = []

    def count(name: str, _: Any) -> None:
        if name == "upload_part_copy":
            copies.append(name)

    artifact = run(tested, bucket, len(files), storage=Interfering(tested.storage, count))
    assert archive(tested, artifact) == expected(files)
    assert bool(copies) is tested.profile.can_compose
    assert artifact.etag == tested.storage.head_object(tested.archives, artifact.key).etag
    assert artifact.etag.strip('"')
    assert tested.remains() == []


def test_a_second_job_gets_the_same_archive(tested: ServerUnderTest) -> None:
    bucket = tested.new_bucket()
    files = put_files(tested, bucket, [6 * MB, 10], seed=2)
    first = run(tested, bucket, len(files))
    writes: list[str] = []

    def record(name: str, _: Any) -> None:
        if name.startswith(("put_object", "upload_part", "create_")):
            writes.append(name)

    second = run(tested, bucket, len(files), storage=Interfering(tested.storage, record))
    assert (second.key, second.etag) == (first.key, first.etag)
    assert writes == []


def test_a_rebuild_after_a_change_has_the_new_bytes(tested: ServerUnderTest) -> None:
    bucket = tested.new_bucket()
    files = put_files(tested, bucket, [6 * MB, 40_000, 40_000, 7 * MB], seed=3)
    run(tested, bucket, len(files))
    files[1] = b"new"
    put_file(tested, bucket, 1, b"new")
    assert archive(tested, run(tested, bucket, len(files))) == expected(files)
    assert tested.remains() == []


@pytest.mark.parametrize("size", [6 * MB, 13 * MB, 40_000])
@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_file_that_changes_during_the_build_never_gets_into_an_archive_with_old_bytes(
    tested: ServerUnderTest, size: int, after: int
) -> None:
    bucket = tested.new_bucket()
    # Without metadata: rclone loses it if the file's time changes a second after it was written.
    files = {file_id: random.Random(file_id).randbytes(size) for file_id in range(3)}
    for file_id, data in files.items():
        tested.storage.put_object(bucket, str(file_id), data, crc32=crc32(data))
    seen, overwritten = 0, threading.Event()

    def overwrite(name: str, args: Any) -> None:
        nonlocal seen
        if name == "upload_part_copy" or (
            name in ("read_into", "get_object") and args[0] == bucket
        ):
            seen += 1
            if seen == after + 1:
                # The build may end before this thread does.
                for file_id in files:
                    files[file_id] = bytes([file_id + 1]) * size
                    data = files[file_id]
                    tested.storage.put_object(bucket, str(file_id), data, crc32=crc32(data))
                overwritten.set()

    interfering: Any = Interfering(tested.storage, overwrite)
    with suppress(DownloadError):
        artifact = build(
            make_request([0, 1, 2], bucket=tested.archives),
            source=tested.source(bucket, storage=interfering),
            storage=interfering,
            control=RecordingControl(),
            options=tested.options(),
        )
        # Only if nothing was read before the change.
        assert archive(tested, artifact) == by_key(files)
    assert overwritten.wait(60)
    assert archive(tested, run(tested, bucket, 3)) == {
        str(file_id): data for file_id, data in files.items()
    }
    assert tested.remains() == []


def test_a_build_is_resumed_after_a_crash_at_any_call(tested: ServerUnderTest) -> None:
    bucket = tested.new_bucket()
    for at in range(4, 40, 7):
        files = put_files(tested, bucket, [6 * MB, 300, 13 * MB], seed=at)
        counter = Counter()
        checkpoint = MemoryCheckpoint(counter)
        calls = 0

        def crash(_: str, __: Any, at: int = at) -> None:
            nonlocal calls
            calls += 1
            if calls >= at:
                raise Crash

        options = replace(tested.options(), checkpoint=checkpoint)
        with suppress(Crash):
            run(
                tested, bucket, len(files),
                storage=Interfering(tested.storage, crash), options=options,
            )  # fmt: skip
        artifact = run(tested, bucket, len(files), options=options)
        assert archive(tested, artifact) == expected(files), f"crash at call {at}"
        assert tested.remains() == []
        assert checkpoint.records == []


def test_files_of_unknown_size_are_streamed(tested: ServerUnderTest) -> None:
    bucket = tested.new_bucket()
    files = put_files(tested, bucket, [9 * MB, 10, 17 * MB], seed=5)
    source: Any = tested.source(bucket)
    describe, open_ = source.describe, source.open
    source.describe = lambda *args, **options: [
        replace(file, size=None, ranged=False, location=None) for file in describe(*args, **options)
    ]
    source.open = lambda file, **options: open_(
        replace(file, size=len(files[file.file_id])), **options
    )
    artifact = build(
        make_request(list(files), bucket=tested.archives),
        source=source,
        storage=tested.storage,
        control=RecordingControl(),
        options=tested.options(),
    )
    assert archive(tested, artifact) == expected(files)
    assert tested.remains() == []


@pytest.mark.parametrize("prefix", ["a b", "a+b", "100%", "q?x=1&y", "h#x", "ünï/空"])
def test_keys_with_special_characters_are_copied_and_read(
    tested: ServerUnderTest, prefix: str
) -> None:
    bucket = tested.new_bucket()
    data = {1: random.Random(6).randbytes(6 * MB), 2: b"small"}
    for file_id, content in data.items():
        tested.storage.put_object(bucket, f"{prefix}/{file_id}", content)
    artifact = build(
        make_request([1, 2], bucket=tested.archives),
        source=tested.source(bucket, f"{prefix}/{{file_id}}"),
        storage=tested.storage,
        control=RecordingControl(),
        options=tested.options(),
    )
    assert archive(tested, artifact) == {"1": data[1], "2": data[2]}


def test_a_link_returns_the_archive(tested: ServerUnderTest) -> None:
    bucket = tested.new_bucket()
    files = put_files(tested, bucket, [6 * MB], seed=7)
    artifact = run(tested, bucket, 1)
    link = tested.storage.presign_get(
        tested.archives, artifact.key,
        filename="ä.zip", content_type="application/zip", expires_in=60,
    )  # fmt: skip
    with urllib.request.urlopen(link, timeout=20) as response:
        assert contents(response.read()) == expected(files)


def test_deleted_objects_are_gone(tested: ServerUnderTest) -> None:
    bucket = tested.new_bucket()
    keys = ["a", "b c", "d+e", "ü"]
    for key in keys:
        tested.storage.put_object(bucket, key, b"x")
    tested.storage.delete_objects(bucket, [*keys, "never-there"])
    assert tested.storage.list_objects_v2(bucket) == []
