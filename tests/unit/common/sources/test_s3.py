"""Describing files that are objects: by listing where that is cheap, by a HEAD each elsewhere."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from common.sources import Missing, SourceFile
from common.sources.s3 import S3Source
from common.task_group import TaskGroup
from tests.support.archives import RecordingControl
from tests.support.fake_object_storage import CREATED_AT
from tests.support.fake_s3 import FakeS3


@pytest.fixture
def store() -> FakeS3:
    store = FakeS3()
    for file_id in range(10_000, 10_200):
        metadata = {"filename": f"name-{file_id}.txt"}
        store.add_object("files", f"docs/{file_id}", b"x" * (file_id % 7), metadata=metadata)
    return store


def described(
    store: FakeS3, file_ids: list[int], cached: Any = None, bucket: str = "files"
) -> list[Any]:
    source = S3Source(store, bucket=bucket, key_template="docs/{file_id}")
    return source.describe(file_ids, TaskGroup(RecordingControl()), cached=cached or {})


def as_known(entries: list[Any]) -> dict[int, SourceFile]:
    return {entry.file_id: entry for entry in entries}


def test_files_are_described_in_the_order_asked_for(store: FakeS3) -> None:
    entries = described(store, [10_005, 10_001, 99])
    assert [e.file_id for e in entries] == [10_005, 10_001, 99]
    assert entries[0].name == "name-10005.txt"
    assert entries[0].location == ("files", "docs/10005")
    assert isinstance(entries[2], Missing)


def test_what_is_known_and_unchanged_is_listed_instead_of_asked_for(store: FakeS3) -> None:
    ids = list(range(10_000, 10_200))
    first = described(store, ids)
    store.restart()
    assert described(store, ids, as_known(first)) == first
    assert store.calls == ["list_objects_v2"]


def test_what_changed_or_went_away_is_asked_for(store: FakeS3) -> None:
    ids = list(range(10_000, 10_200))
    known = as_known(described(store, ids))
    store.add_object("files", "docs/10050", b"new", metadata={"filename": "new.txt"})
    store.objects["files", "docs/10051"].modified = CREATED_AT + timedelta(seconds=1)
    del store.objects["files", "docs/10052"]
    store.restart()
    entries = {e.file_id: e for e in described(store, ids, known)}
    assert entries[10_050].name == "new.txt"
    assert entries[10_051].modified == CREATED_AT + timedelta(seconds=1)
    assert isinstance(entries[10_052], Missing)
    assert sorted(store.calls) == ["head_object"] * 3 + ["list_objects_v2"]


def test_files_far_apart_are_asked_for_one_by_one(store: FakeS3) -> None:
    ids = list(range(20_000_000, 90_000_000, 1_000_000))
    for file_id in ids:
        store.add_object("files", f"docs/{file_id}", b"x")
        for other in range(1, 300):
            store.add_object("files", f"docs/{file_id + other}", b"y")
    known = as_known(described(store, ids))
    store.restart()
    assert len(described(store, ids, known)) == len(ids)
    assert store.calls.count("list_objects_v2") <= 2
    assert store.calls.count("head_object") >= len(ids) - 10


def test_what_is_known_of_another_bucket_does_not_count(store: FakeS3) -> None:
    ids = list(range(10_000, 10_200))
    known = as_known(described(store, ids))
    for (_, key), stored in list(store.objects.items()):
        store.objects["elsewhere", key] = stored
    entries = described(store, ids, known, bucket="elsewhere")
    assert {entry.location[0] for entry in entries} == {"elsewhere"}
