"""Files and archives that change, disappear or decay during a build, and what is reused."""

from __future__ import annotations

from datetime import timedelta

import pytest

from common.errors import DownloadError, FileChanged, FileNotFound, ProcessingError
from common.jobs.model import OnMissing
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


def test_build_does_not_reuse_a_previous_archive_with_a_flipped_bit() -> None:
    catalog = SmallCatalog([40] * 30)
    first = catalog.run()
    stored = catalog.storage.objects["archives", first.key]
    stored.data = stored.data[:200] + bytes([stored.data[200] ^ 1]) + stored.data[201:]
    catalog.files[29] = b"new"
    catalog.storage.add_object("files", "29", b"new", metadata={"filename": "29.bin"})
    with pytest.raises(DownloadError):
        catalog.run()


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
