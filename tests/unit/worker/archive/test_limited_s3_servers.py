"""Stores that leave something of the S3 API out, and what is done for want of it."""

from __future__ import annotations

import random
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis import Redis

from common.errors import FileTooLarge
from common.job_store.storage_capabilities import StorageCapabilities
from common.sources.s3 import S3Source
from tests.support.archives import RecordingControl, a_request, contents
from tests.support.fake_s3 import FakeS3
from worker.archive import BuildOptions, build
from worker.archive.planning.layout import GIB, MIB, Geometry
from worker.archive.storage_probe import Capabilities, probe_storage
from worker.archive_builder import ArchiveBuilder

ALL = {
    "range_copy": True,
    "copy_checksum": True,
    "copy_precondition": True,
    "part_checksum": True,
    "whole_checksum": True,
    "mixed_parts": True,
}
SMALL = Geometry(min_part_size=100, write_size=150, copy_size=400)
#: The same for a store that wants equal parts.
EQUAL = Geometry(min_part_size=100, write_size=150, copy_size=400, equal_parts=True)


@pytest.mark.parametrize(
    ("rules", "lacking", "can_compose"),
    [
        ({}, (), True),
        ({"keeps_checksums": False}, ("copy_checksum",), True),
        ({"heeds_if_match": False}, ("copy_precondition",), False),
        ({"equal_parts": True}, ("mixed_parts",), False),
        ({"copies": False}, ("range_copy", "copy_checksum", "copy_precondition"), False),
        (
            {"copies": False, "equal_parts": True},
            ("range_copy", "copy_checksum", "copy_precondition", "mixed_parts"),
            False,
        ),
    ],
    ids=str,
)
def test_the_probe_finds_out_what_a_store_lacks(
    rules: dict[str, bool], lacking: tuple[str, ...], can_compose: bool
) -> None:
    store = FakeS3(least=5 * MIB, **rules)
    found = probe_storage(cast("Any", store), "archives")
    assert found == Capabilities(**{**ALL, **dict.fromkeys(lacking, False)})
    assert found.can_compose is can_compose
    assert store.objects == {}
    assert store.open_uploads == {}


def catalogue(sizes: list[int], **rules: bool) -> tuple[FakeS3, dict[str, bytes]]:
    store, rng = FakeS3(**rules), random.Random(3)
    files = {f"{i}.bin": rng.randbytes(size) for i, size in enumerate(sizes)}
    for i, (name, data) in enumerate(files.items()):
        store.place("files", str(i), data, metadata={"filename": name})
    return store, files


def built(store: FakeS3, count: int, *, geometry: Geometry, can_copy: bool) -> dict[str, bytes]:
    artifact = build(
        a_request(list(range(count))),
        source=S3Source(store, bucket="files", key_template="{file_id}"),
        storage=store,
        control=RecordingControl(),
        options=BuildOptions(geometry=geometry, can_copy=can_copy),
    )
    assert store.open_uploads == {}
    return contents(store.objects["archives", artifact.key].data)


@given(st.lists(st.integers(0, 700), min_size=1, max_size=12))
def test_a_store_that_wants_equal_parts_gets_them(sizes: list[int]) -> None:
    store, files = catalogue(sizes, equal_parts=True)
    assert built(store, len(sizes), geometry=EQUAL, can_copy=False) == files


def test_a_rebuild_for_a_store_with_equal_parts_reads_the_previous_archive() -> None:
    store, files = catalogue([40] * 30, equal_parts=True)
    wide = replace(EQUAL, write_size=900)
    built(store, 30, geometry=wide, can_copy=False)
    store.place("files", "29", b"new", metadata={"filename": "29.bin"})
    store.revive()
    again = built(store, 30, geometry=wide, can_copy=False)
    assert again == {**files, "29.bin": b"new"}
    assert "upload_part_copy" not in store.calls
    assert store.calls.count("read_into") < 30


def test_a_rebuild_does_not_ask_a_store_for_copies_that_it_cannot_make() -> None:
    store, files = catalogue([60] * 30, copies=False)
    built(store, 30, geometry=SMALL, can_copy=False)
    store.place("files", "29", b"new", metadata={"filename": "29.bin"})
    assert built(store, 30, geometry=SMALL, can_copy=False) == {**files, "29.bin": b"new"}


def test_a_store_that_tells_no_checksum_of_a_copy_has_each_range_read_once() -> None:
    store, files = catalogue([5_000, 5_000], keeps_checksums=False)
    assert built(store, 2, geometry=SMALL, can_copy=True) == files
    # A ladder's second copy is of bytes that are known; what fills the first part up is read too.
    assert store.calls.count("read_into") == store.calls.count("upload_part_copy") > 20


def test_too_many_large_files_are_written_and_more_than_that_are_streamed() -> None:
    store, files = catalogue([500] * 30)
    few = Geometry(min_part_size=100, write_size=150, copy_size=400, max_parts=20)
    assert built(store, 30, geometry=few, can_copy=True) == files
    assert "upload_part_copy" not in store.calls


def test_what_no_upload_can_hold_is_refused_before_anything_is_read() -> None:
    store, _ = catalogue([1] * 30)
    for number in range(30):
        store.objects["files", str(number)].data = range(10 * GIB)  # type: ignore[assignment]
    with pytest.raises(FileTooLarge):
        built(store, 30, geometry=Geometry(), can_copy=False)
    assert set(store.calls) == {"get_object", "head_object"}


def builder(redis: Redis, store: FakeS3, *, compose: bool) -> ArchiveBuilder:
    store.ensure_bucket = lambda *_, **__: None  # type: ignore[attr-defined]
    settings = SimpleNamespace(
        source_url_template="s3://files/{file_id}",
        source_redirect_hosts="",
        source_authorization="",
        archive_bucket="archives",
        archive_ttl=60,
        compose_archives=compose,
    )
    return ArchiveBuilder(cast("Any", SimpleNamespace(
        settings=settings, storage=store, redis=redis, queries=None,
    )))  # fmt: skip


def test_a_store_that_is_not_to_compose_is_not_probed(redis: Redis) -> None:
    StorageCapabilities(redis).publish(ALL)
    store = FakeS3(least=5 * MIB)
    assert builder(redis, store, compose=False).prepare() == Capabilities()
    assert store.calls == []
    assert StorageCapabilities(redis).read() == {}


def test_what_the_probe_found_is_shown(redis: Redis) -> None:
    store = FakeS3(least=5 * MIB, equal_parts=True)
    builder(redis, store, compose=True).prepare()
    assert StorageCapabilities(redis).read() == {**ALL, "mixed_parts": False}
