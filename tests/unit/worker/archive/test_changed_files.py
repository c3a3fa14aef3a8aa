"""Files and archives that change, vanish or rot under a build, and what is used again."""

from __future__ import annotations

from datetime import timedelta

import pytest

from common.errors import DownloadError, FileChanged, FileNotFound, ProcessingError
from common.jobs.model import OnMissing
from tests.support.archives import contents
from tests.support.crashes import Crash
from tests.support.small_catalog import World

pytestmark = pytest.mark.usefixtures("narrow")


def test_the_same_request_again_costs_one_head_on_the_archive() -> None:
    world = World([10, 3000, 20])
    first = world.run()
    world.store.revive()
    again = world.run()
    assert again == first
    assert [c for c in world.store.calls if c not in ("get_object", "clear_records")] == [
        "head_object"
    ] * 4


def test_an_overwritten_source_is_noticed_while_the_archive_is_built() -> None:
    world = World([3000, 3000])

    def overwrite(name: str) -> None:
        if name == "upload_part_copy":
            world.store.place("files", "1", b"other" * 600, metadata={"filename": "1.bin"})

    world.store.hook = overwrite
    with pytest.raises(FileChanged):
        world.run()
    world.assert_nothing_left()


@pytest.mark.parametrize("file_sizes", [[50, 60, 70], [3000, 3000, 3000]])
def test_a_file_deleted_after_it_was_described_is_skipped_by_the_next_attempt(
    file_sizes: list[int],
) -> None:
    world = World(file_sizes)

    def delete(name: str) -> None:
        if name in ("upload_part_copy", "read_into"):
            world.store.objects.pop(("files", "1"), None)

    world.store.hook = delete
    with pytest.raises(ProcessingError) as failure:
        world.run(on_missing=OnMissing.SKIP)
    assert failure.value.retryable
    world.store.hook = lambda _: None
    artifact = world.run(on_missing=OnMissing.SKIP)
    assert artifact.missing_files == 1
    assert set(contents(world.archive(artifact))) == {"0.bin", "2.bin", "MANIFEST.json"}
    world.assert_nothing_left()


def test_a_file_deleted_after_it_was_described_fails_a_job_that_wants_all() -> None:
    world = World([3000, 3000])

    def delete(name: str) -> None:
        if name == "upload_part_copy":
            world.store.objects.pop(("files", "1"), None)

    world.store.hook = delete
    with pytest.raises(FileNotFound):
        world.run()
    world.assert_nothing_left()


def test_a_fresh_attempt_after_a_change_builds_what_is_there_by_then() -> None:
    world = World([3000, 50, 3000])
    world.store.revive(crash_at=12)
    with pytest.raises(Crash):
        world.run()
    world.store.revive()
    world.files[1] = b"other"
    world.store.place("files", "1", b"other", metadata={"filename": "1.bin"})
    world.assert_right(world.run())


@pytest.mark.parametrize("file_sizes", [[50, 60], [3000, 3000]])
def test_a_wrong_stored_checksum_is_caught(file_sizes: list[int]) -> None:
    world = World(file_sizes)
    world.store.objects["files", "0"].crc32 ^= 1
    with pytest.raises(DownloadError, match="checksum"):
        world.run()
    world.assert_nothing_left()


@pytest.mark.parametrize("file_sizes", [[50, 60], [3000, 3000]])
def test_a_bit_that_flips_in_the_stored_file_is_caught(file_sizes: list[int]) -> None:
    world = World(file_sizes)
    stored = world.store.objects["files", "0"]
    stored.data = bytes([stored.data[0] ^ 1]) + stored.data[1:]
    with pytest.raises(DownloadError, match="checksum"):
        world.run()
    world.assert_nothing_left()


def test_swapped_sources_are_caught() -> None:
    world = World([3000, 3000])
    objects = world.store.objects

    def swap(name: str) -> None:
        if name == "create_multipart_upload":
            one, other = objects["files", "0"], objects["files", "1"]
            objects["files", "0"], objects["files", "1"] = other, one
            world.store.hook = lambda _: None

    world.store.hook = swap
    with pytest.raises(FileChanged):
        world.run()
    world.assert_nothing_left()


def test_a_previous_archive_with_a_flipped_bit_is_not_reused() -> None:
    world = World([40] * 30)
    first = world.run()
    stored = world.store.objects["archives", first.key]
    stored.data = stored.data[:200] + bytes([stored.data[200] ^ 1]) + stored.data[201:]
    world.files[29] = b"new"
    world.store.place("files", "29", b"new", metadata={"filename": "29.bin"})
    with pytest.raises(DownloadError):
        world.run()


def test_a_retry_fetches_only_what_was_missing() -> None:
    world = World([40] * 30)
    late = world.store.objects.pop(("files", "29"))
    first = world.run(on_missing=OnMissing.SKIP)
    assert first.missing_files == 1
    world.store.objects["files", "29"] = late
    world.store.revive()
    second = world.run(on_missing=OnMissing.SKIP)
    assert second.missing_files == 0
    assert world.store.calls.count("read_into") < 10
    assert contents(world.archive(second))["29.bin"] == world.files[29]


def test_an_index_whose_archive_is_gone_is_of_no_harm() -> None:
    world = World([40] * 30)
    first = world.run()
    del world.store.objects["archives", first.key]
    world.files[3] = b"new"
    world.store.place("files", "3", b"new", metadata={"filename": "3.bin"})
    world.assert_right(world.run())


def test_an_archive_that_is_about_to_expire_is_made_anew() -> None:
    world = World([40] * 30 + [2000])
    first = world.run()
    stored = world.store.objects["archives", first.key]
    stored.modified -= timedelta(days=2)
    world.store.revive()
    second = world.run()
    assert (second.key, second.etag) == (first.key, first.etag)
    assert "upload_part_copy" in world.store.calls
    assert world.store.objects["archives", first.key].modified > stored.modified
    world.assert_right(second)
