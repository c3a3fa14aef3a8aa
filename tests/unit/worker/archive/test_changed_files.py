"""Files and archives that change, disappear or decay during a build, and what is reused."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from common.errors import (
    DownloadError,
    FileChanged,
    FileNotFound,
    ProcessingError,
    SourceForbidden,
)
from common.jobs.model import OnMissing
from common.object_storage.errors import BucketForbidden
from tests.support.archives import contents
from tests.support.crashes import Crash
from tests.support.small_catalog import SmallCatalog

pytestmark = pytest.mark.usefixtures("narrow")


def test_a_repeated_request_costs_one_head_request_on_the_archive() -> None:
    catalog = SmallCatalog([10, 3000, 20])
    first = catalog.run()
    catalog.storage.restart()
    again = catalog.run()
    assert again == first
    assert [c for c in catalog.storage.calls if c not in ("get_object", "clear_records")] == [
        "head_object"
    ] * 4


def test_the_index_and_the_log_wait_for_the_completion_of_the_job() -> None:
    catalog = SmallCatalog([10, 3000, 20])
    deferred: list[Callable[[], None]] = []
    artifact = catalog.run(defer=deferred.append)
    assert catalog.archive(artifact)
    assert not any(key.startswith("indexes/") for _, key in catalog.storage.objects)
    assert catalog.checkpoint.records
    for step in deferred:
        step()
    assert any(key.startswith("indexes/") for _, key in catalog.storage.objects)
    catalog.assert_correct(artifact)


def test_an_index_does_not_get_the_storage_class_of_archives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    catalog = SmallCatalog([10])
    put, written = catalog.storage.put_object, {}

    def record(bucket: str, key: str, *args: Any, is_archive: bool = True, **options: Any) -> str:
        written[key.partition("/")[0]] = is_archive
        return put(bucket, key, *args, **options)

    monkeypatch.setattr(catalog.storage, "put_object", record)
    catalog.run()
    assert written == {"archives": True, "indexes": False}


def test_build_rejects_a_file_that_is_overwritten_meanwhile() -> None:
    catalog = SmallCatalog([3000, 3000])

    def overwrite(name: str) -> None:
        if name == "upload_part_copy":
            catalog.storage.add_object("files", "1", b"other" * 600, metadata={"filename": "1.bin"})

    catalog.storage.hook = overwrite
    with pytest.raises(FileChanged):
        catalog.run()
    catalog.assert_nothing_left_behind()


@pytest.mark.parametrize("file_sizes", [[50, 60, 70], [3000, 3000, 3000]])
def test_the_next_attempt_skips_a_file_that_was_deleted_during_the_build(
    file_sizes: list[int],
) -> None:
    catalog = SmallCatalog(file_sizes)

    def delete(name: str) -> None:
        if name in ("upload_part_copy", "read_into"):
            catalog.storage.objects.pop(("files", "1"), None)

    catalog.storage.hook = delete
    with pytest.raises(ProcessingError) as failure:
        catalog.run(on_missing=OnMissing.SKIP)
    assert failure.value.retryable
    catalog.storage.hook = lambda _: None
    artifact = catalog.run(on_missing=OnMissing.SKIP)
    assert artifact.missing_files == 1
    assert set(contents(catalog.archive(artifact))) == {"0.bin", "2.bin", "MANIFEST.json"}
    catalog.assert_nothing_left_behind()


@pytest.mark.parametrize("file_sizes", [[50, 60, 70], [3000, 3000, 3000]])
@pytest.mark.parametrize(("on_missing", "error"), [
    (OnMissing.SKIP, ProcessingError), (OnMissing.FAIL, SourceForbidden),
])  # fmt: skip
def test_a_file_that_is_denied_during_the_build_is_skipped_by_the_next_attempt(
    file_sizes: list[int], on_missing: OnMissing, error: type[DownloadError]
) -> None:
    catalog = SmallCatalog(file_sizes)

    def deny(name: str) -> None:
        if name in ("upload_part_copy", "read_into"):
            raise SourceForbidden

    catalog.storage.hook = deny
    with pytest.raises(error) as failure:
        catalog.run(on_missing=on_missing)
    assert failure.value.retryable is (on_missing is OnMissing.SKIP)
    catalog.storage.hook = lambda _: None
    assert catalog.run(on_missing=on_missing).missing_files == 0


def test_a_file_that_is_deleted_during_the_build_fails_a_job_that_needs_all_files() -> None:
    catalog = SmallCatalog([3000, 3000])

    def delete(name: str) -> None:
        if name == "upload_part_copy":
            catalog.storage.objects.pop(("files", "1"), None)

    catalog.storage.hook = delete
    with pytest.raises(FileNotFound):
        catalog.run()
    catalog.assert_nothing_left_behind()


def test_a_new_attempt_uses_the_current_version_of_a_changed_file() -> None:
    catalog = SmallCatalog([3000, 50, 3000])
    catalog.storage.restart(crash_at=12)
    with pytest.raises(Crash):
        catalog.run()
    catalog.storage.restart()
    catalog.files[1] = b"other"
    catalog.storage.add_object("files", "1", b"other", metadata={"filename": "1.bin"})
    catalog.assert_correct(catalog.run())


@pytest.mark.parametrize("file_sizes", [[50, 60], [3000, 3000]])
def test_build_detects_a_wrong_stored_checksum(file_sizes: list[int]) -> None:
    catalog = SmallCatalog(file_sizes)
    stored = catalog.storage.objects["files", "0"]
    stored.crc32 = (stored.crc32 or 0) ^ 1
    with pytest.raises(DownloadError, match="checksum"):
        catalog.run()
    catalog.assert_nothing_left_behind()


@pytest.mark.parametrize("file_sizes", [[50, 60], [3000, 3000]])
def test_build_detects_a_flipped_bit_in_a_stored_file(file_sizes: list[int]) -> None:
    catalog = SmallCatalog(file_sizes)
    stored = catalog.storage.objects["files", "0"]
    stored.data = bytes([stored.data[0] ^ 1]) + stored.data[1:]
    with pytest.raises(DownloadError, match="checksum"):
        catalog.run()
    catalog.assert_nothing_left_behind()


def test_build_detects_files_that_are_swapped_meanwhile() -> None:
    catalog = SmallCatalog([3000, 3000])
    objects = catalog.storage.objects

    def swap(name: str) -> None:
        if name == "create_multipart_upload":
            one, other = objects["files", "0"], objects["files", "1"]
            objects["files", "0"], objects["files", "1"] = other, one
            catalog.storage.hook = lambda _: None

    catalog.storage.hook = swap
    with pytest.raises(FileChanged):
        catalog.run()
    catalog.assert_nothing_left_behind()


@pytest.mark.parametrize("can_copy", [True, False])
@pytest.mark.parametrize("position", [5, 60, 200])
def test_build_does_not_reuse_a_previous_archive_with_a_flipped_bit(
    can_copy: bool, position: int
) -> None:
    catalog = SmallCatalog([40] * 30)
    first = catalog.run(can_copy=can_copy)
    stored = catalog.storage.objects["archives", first.key]
    flipped = bytes([stored.data[position] ^ 1])
    stored.data = stored.data[:position] + flipped + stored.data[position + 1 :]
    for data in (b"new", b"newer"):
        catalog.files[29] = data
        catalog.storage.add_object("files", "29", data, metadata={"filename": "29.bin"})
        catalog.storage.restart()
        catalog.assert_correct(catalog.run(can_copy=can_copy))
        assert catalog.control.done == sum(map(len, catalog.files.values()))
    # The index describes the new archive.
    assert catalog.storage.calls.count("read_into") < 20


def test_a_file_that_is_damaged_itself_is_an_error_although_there_is_a_previous_archive() -> None:
    catalog = SmallCatalog([40] * 30)
    catalog.run()
    catalog.storage.add_object("files", "29", b"new", metadata={"filename": "29.bin"})
    catalog.storage.objects["files", "29"].data = b"old"
    with pytest.raises(DownloadError, match="checksum"):
        catalog.run()
    catalog.assert_nothing_left_behind()


def test_a_retry_reads_only_the_files_that_were_missing() -> None:
    catalog = SmallCatalog([40] * 30)
    missing = catalog.storage.objects.pop(("files", "29"))
    first = catalog.run(on_missing=OnMissing.SKIP)
    assert first.missing_files == 1
    catalog.storage.objects["files", "29"] = missing
    catalog.storage.restart()
    second = catalog.run(on_missing=OnMissing.SKIP)
    assert second.missing_files == 0
    assert catalog.storage.calls.count("read_into") < 10
    assert contents(catalog.archive(second))["29.bin"] == catalog.files[29]


def test_build_ignores_an_index_whose_archive_is_gone() -> None:
    catalog = SmallCatalog([40] * 30)
    first = catalog.run()
    del catalog.storage.objects["archives", first.key]
    catalog.files[3] = b"new"
    catalog.storage.add_object("files", "3", b"new", metadata={"filename": "3.bin"})
    catalog.assert_correct(catalog.run())


def test_build_replaces_an_archive_that_is_about_to_expire() -> None:
    catalog = SmallCatalog([40] * 30 + [2000])
    first = catalog.run()
    stored = catalog.storage.objects["archives", first.key]
    stored.modified -= timedelta(days=2)
    catalog.storage.restart()
    second = catalog.run()
    assert (second.key, second.etag) == (first.key, first.etag)
    assert "upload_part_copy" in catalog.storage.calls
    assert catalog.storage.objects["archives", first.key].modified > stored.modified
    catalog.assert_correct(second)


@pytest.mark.parametrize(("hours", "archive_ttl", "is_reused"), [
    (22, 86_400, True), (24, 86_400, False), (45, 90_000, True), (47, 90_000, False),
])  # fmt: skip
def test_an_archive_is_reused_only_if_it_outlives_the_new_job_by_an_hour(
    hours: float, archive_ttl: int, is_reused: bool
) -> None:
    catalog = SmallCatalog([40] * 3 + [2000])
    stored = catalog.storage.objects["archives", catalog.run(archive_ttl=archive_ttl).key]
    stored.modified -= timedelta(hours=hours)
    catalog.storage.restart()
    catalog.run(archive_ttl=archive_ttl)
    assert ("upload_part_copy" not in catalog.storage.calls) is is_reused


@pytest.mark.parametrize(("hours", "is_reused"), [(26, True), (24, False)])
def test_the_expiry_that_the_storage_names_has_precedence(hours: int, is_reused: bool) -> None:
    catalog = SmallCatalog([40] * 3 + [2000])
    stored = catalog.storage.objects["archives", catalog.run().key]
    stored.modified -= timedelta(days=30)
    stored.expires_at = datetime.now(UTC) + timedelta(hours=hours)
    catalog.storage.restart()
    catalog.run()
    assert ("upload_part_copy" not in catalog.storage.calls) is is_reused


def test_an_archive_of_files_that_are_not_readable_any_more_is_not_reused() -> None:
    catalog = SmallCatalog([40] * 60)
    catalog.run()

    def deny(name: str) -> None:
        # The files, which listing the bucket still shows; the first HEAD is for the archive.
        calls = catalog.storage.calls
        if name == "head_object" and "list_objects_v2" in calls and calls.count(name) > 1:
            raise SourceForbidden

    catalog.storage.restart()
    catalog.storage.hook = deny
    with pytest.raises(SourceForbidden):
        catalog.run()
    assert "list_objects_v2" in catalog.storage.calls


def test_a_denied_archive_bucket_is_not_a_denied_file() -> None:
    catalog = SmallCatalog([40] * 60)
    catalog.run()

    def deny(name: str) -> None:
        calls = catalog.storage.calls
        if name == "head_object" and "list_objects_v2" in calls and calls.count(name) == 1:
            raise SourceForbidden

    catalog.storage.restart()
    catalog.storage.hook = deny
    with pytest.raises(BucketForbidden) as raised:
        catalog.run()
    assert raised.value.retryable


def test_many_unchanged_files_are_reused_after_they_were_found_readable() -> None:
    catalog = SmallCatalog([40] * 60)
    first = catalog.run()
    catalog.storage.restart()
    assert catalog.run() == first
    calls = catalog.storage.calls
    assert calls.count("list_objects_v2") == 1
    assert calls.count("head_object") == 61
    assert not {"read_into", "put_object", "upload_part"} & set(calls)
