"""Random layouts, and a worker that dies before or after any call to the store or the journal.

``ARCHIVE_EXAMPLES`` sets how many layouts are tried.
"""

from __future__ import annotations

import os
import random
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.errors import CancelRequested, DownloadError, FileChanged, FileMissing, ProcessingError
from common.jobs.model import OnMissing
from tests.archive_kit import RecordingControl, a_request, contents
from tests.crashes import Crash, MemoryCheckpoint
from tests.fake_s3 import FakeS3
from worker.archive import build
from worker.archive.build import Engine
from worker.archive.layout import Geometry
from worker.sources.s3 import S3Source

EXAMPLES = int(os.environ.get("ARCHIVE_EXAMPLES", "300"))
SMALL = Geometry(least=100, write=150, copy=400)
WIDTH = 2
#: Calls made by the threads of a build, where an error may strike.
BUILDING = {"create", "read", "copy_part", "put_part", "complete"}

many = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
sizes = st.lists(
    st.one_of(st.integers(0, 60), st.integers(95, 320), st.integers(300, 2500)),
    min_size=1,
    max_size=12,
)


@pytest.fixture(autouse=True)
def _narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.archive.copying.WIDTH", WIDTH)
    monkeypatch.setattr("worker.archive.writing.WIDTH", WIDTH)
    monkeypatch.setattr("worker.archive.writing.MEMORY", 1000)
    monkeypatch.setattr("worker.sources.s3.HEADS", WIDTH)


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
            store=self.store,
            control=self.control,
            engine=Engine(checkpoint=self.checkpoint, geometry=SMALL, can_copy=can_copy),
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


@many
@given(sizes, st.booleans(), st.booleans())
def test_any_layout_gives_the_right_archive_and_leaves_nothing(
    file_sizes: list[int], can_copy: bool, keeps_checksums: bool
) -> None:
    world = World(file_sizes, keeps_checksums=keeps_checksums)
    world.assert_right(world.run(can_copy=can_copy))
    assert world.control.done == sum(file_sizes)
    assert set(world.control.reports) == set(world.files)


@many
@given(
    sizes,
    st.lists(st.tuples(st.integers(1, 60), st.booleans()), min_size=1, max_size=3),
    st.booleans(),
    st.booleans(),
)
def test_an_archive_survives_crashes_at_any_call(
    file_sizes: list[int],
    crashes: list[tuple[int, bool]],
    forgets_completed: bool,
    keeps_checksums: bool,
) -> None:
    world = World(file_sizes, keeps_checksums=keeps_checksums)
    world.store.forgets_completed = forgets_completed
    undisturbed = World(file_sizes, keeps_checksums=keeps_checksums)
    expected = undisturbed.run()
    transfers = _transfers(undisturbed.store.calls)
    done = 0
    for at, before in crashes:
        world.store.revive(crash_at=at, before=before)
        try:
            artifact = world.run()
        except Crash:
            done += _transfers(world.store.calls)
            continue
        world.assert_right(artifact)
        return
    world.store.revive()
    artifact = world.run()
    world.assert_right(artifact)
    assert world.archive(artifact) == undisturbed.archive(expected)
    assert artifact.etag == expected.etag
    assert world.control.done == sum(file_sizes)
    redone = done + _transfers(world.store.calls) - transfers
    # A rung of a ladder is two transfers more; at most one piece of work for each thread is lost.
    assert redone <= len(crashes) * WIDTH * 3


def _transfers(calls: list[str]) -> int:
    return sum(name in ("put_part", "copy_part") for name in calls)


@many
@given(sizes, st.integers(1, 60), st.sampled_from([CancelRequested, FileChanged]))
def test_a_job_that_is_over_leaves_nothing_whenever_it_stops(
    file_sizes: list[int], at: int, error: type[Exception]
) -> None:
    world = World(file_sizes)

    def stop(name: str) -> None:
        if len(world.store.calls) >= at and name in BUILDING:
            world.store.hook = lambda _: None
            raise error

    world.store.hook = stop
    try:
        artifact = world.run()
    except error:
        world.assert_nothing_left()
    else:
        world.assert_right(artifact)


@many
@given(sizes, st.data())
def test_a_rebuild_after_changes_gives_the_bytes_of_a_fresh_build(
    file_sizes: list[int], data: Any
) -> None:
    world = World(file_sizes)
    world.run()
    changed = data.draw(st.sets(st.sampled_from(sorted(world.files)), max_size=3))
    fresh = World(file_sizes)
    for file_id in changed:
        content = data.draw(st.binary(max_size=600))
        for each in (world, fresh):
            each.files[file_id] = content
            each.store.place(
                "files", str(file_id), content, metadata={"filename": f"{file_id}.bin"}
            )
    artifact, expected = world.run(), fresh.run()
    world.assert_right(artifact)
    assert (artifact.key, artifact.etag) == (expected.key, expected.etag)
    assert world.archive(artifact) == fresh.archive(expected)


def test_the_same_request_again_costs_one_head_on_the_archive() -> None:
    world = World([10, 3000, 20])
    first = world.run()
    world.store.revive()
    again = world.run()
    assert again == first
    assert [c for c in world.store.calls if c not in ("open", "forget")] == ["head"] * 4


def test_an_overwritten_source_is_noticed_while_the_archive_is_built() -> None:
    world = World([3000, 3000])

    def overwrite(name: str) -> None:
        if name == "copy_part":
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
        if name in ("copy_part", "read"):
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
        if name == "copy_part":
            world.store.objects.pop(("files", "1"), None)

    world.store.hook = delete
    with pytest.raises(FileMissing):
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
        if name == "create":
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
    assert world.store.calls.count("read") < 10
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
    assert "copy_part" in world.store.calls
    assert world.store.objects["archives", first.key].modified > stored.modified
    world.assert_right(second)
