"""Parts that are uploaded while their bytes are read."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from common.errors import DownloadError
from common.object_storage import StorageProfile
from tests.support.small_catalog import SmallCatalog

pytestmark = pytest.mark.usefixtures("narrow")

#: Files that are written and copied alternately.
SIZES = [150] * 6


def test_parts_whose_checksums_are_listed_need_no_buffer() -> None:
    catalog = SmallCatalog(SIZES)
    catalog.assert_correct(catalog.run())
    assert catalog.storage.calls.count("upload_part_copy") > 0
    # Only the last part, which has the directory, needs a buffer.
    assert catalog.storage.calls.count("read_into") <= 1
    assert catalog.control.done == sum(SIZES)


def test_parts_are_buffered_if_the_source_lists_no_checksums() -> None:
    catalog = SmallCatalog(SIZES, returns_checksums=False)
    catalog.assert_correct(catalog.run())
    assert catalog.storage.calls.count("get_object") == 1, "the index"
    assert catalog.storage.calls.count("read_into") > 1


def test_parts_are_buffered_if_the_storage_does_not_verify_streamed_ones() -> None:
    catalog = SmallCatalog(SIZES)
    catalog.storage.profile = StorageProfile(trailing_crc32=False)
    catalog.assert_correct(catalog.run())
    assert catalog.storage.calls.count("get_object") == 1, "the index"


@pytest.mark.parametrize("file_id", range(len(SIZES)))
def test_a_bit_that_flips_on_the_way_never_gets_into_an_archive(file_id: int) -> None:
    catalog = SmallCatalog(SIZES)
    stored = catalog.storage.objects["files", str(file_id)]
    # The ETag stays that of the intended bytes.
    stored.data = bytes([stored.data[0] ^ 1]) + stored.data[1:]
    with pytest.raises(DownloadError, match="checksum"):
        catalog.run()
    catalog.assert_nothing_left_behind()


def test_a_part_that_is_read_again_counts_once() -> None:
    catalog = SmallCatalog(SIZES)
    storage: Any = catalog.storage
    upload, failed = storage.upload_part_stream, threading.Event()

    def fail_once(*args: Any, **kwargs: Any) -> Any:
        if not failed.is_set():
            failed.set()
            *_, stream = args
            assert sum(len(block) for block in stream) == len(stream)
        return upload(*args, **kwargs)

    storage.upload_part_stream = fail_once
    catalog.assert_correct(catalog.run())
    assert failed.is_set()
    assert catalog.control.done == sum(SIZES)


@pytest.mark.parametrize("trailing_crc32", [True, False])
def test_headers_with_listed_checksums_do_not_wait_for_copies(trailing_crc32: bool) -> None:
    catalog, written = SmallCatalog(SIZES), threading.Event()
    storage: Any = catalog.storage
    storage.profile = StorageProfile(trailing_crc32=trailing_crc32)
    copy, upload, stream = (
        storage.upload_part_copy, storage.upload_part, storage.upload_part_stream
    )  # fmt: skip

    def copy_later(*args: Any, **kwargs: Any) -> Any:
        assert written.wait(10), "no part was uploaded before the copies"
        return copy(*args, **kwargs)

    def announcing(call: Any) -> Any:
        def announce(*args: Any, **kwargs: Any) -> Any:
            written.set()
            return call(*args, **kwargs)

        return announce

    storage.upload_part_copy = copy_later
    storage.upload_part, storage.upload_part_stream = announcing(upload), announcing(stream)
    catalog.assert_correct(catalog.run())
