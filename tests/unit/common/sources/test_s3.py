"""Describing files that are objects: by listing where that is cheap, by a HEAD each elsewhere."""

from __future__ import annotations

import dataclasses
import gzip
from datetime import timedelta
from typing import Any

import pytest

from common.errors import FileChanged, SourceForbidden, StorageError
from common.object_storage import Cancellation, ObjectInfo
from common.sources import Missing, SourceFile, source_from_template
from common.sources.s3 import S3Source
from common.task_group import TaskGroup
from tests.support.archives import RecordingControl, contents, make_request
from tests.support.fake_object_storage import CREATED_AT
from tests.support.fake_s3 import FakeS3
from worker.archive import BuildOptions, build
from worker.archive.planning.layout import PartSizes


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


CSV = b"".join(b"%d;%d\n" % (i, i * i) for i in range(5_000))


class CodedObjects(FakeS3):
    """A storage whose objects have a Content-Encoding."""

    coding = "gzip"

    def head_object(self, *args: Any, **kwargs: Any) -> ObjectInfo:
        return dataclasses.replace(
            super().head_object(*args, **kwargs), content_encoding=self.coding
        )


def archived_objects(store: FakeS3, *file_ids: int, **changes: Any) -> dict[str, bytes]:
    source = S3Source(store, bucket="files", key_template="docs/{file_id}")
    part_sizes = PartSizes(min_part_size=100, write_size=5000, copy_size=9000)
    artifact = build(
        make_request(list(file_ids), **changes),
        source=source, storage=store, control=RecordingControl(),
        options=BuildOptions(part_sizes=part_sizes),
    )  # fmt: skip
    assert (artifact.bucket, artifact.content_type) == ("archives", "application/zip")
    return contents(store.objects["archives", artifact.key].data)


@pytest.mark.parametrize(("coding", "stored", "name", "expected"), [
    ("gzip", gzip.compress(CSV), "table.csv", {"table.csv": CSV}),
    ("gzip", gzip.compress(CSV), "table.csv.gz", {"table.csv.gz": gzip.compress(CSV, mtime=0)}),
    ("br", CSV, "table.csv", {"table.csv.br": CSV}),
    ("aws-chunked", CSV, "table.csv", {"table.csv": CSV}),
])  # fmt: skip
def test_objects_that_are_stored_with_a_content_coding_are_decoded_or_renamed(
    coding: str, stored: bytes, name: str, expected: dict[str, bytes]
) -> None:
    """RFC 9110, 8.4: an archive has no place for the header, so the content must be what it is."""
    store = CodedObjects()
    store.coding = coding
    store.add_object("files", "docs/1", stored, metadata={"filename": name})
    members = archived_objects(store, 1, direct_single_file=coding != "aws-chunked")
    if name.endswith(".gz"):
        members = {n: gzip.compress(gzip.decompress(data), mtime=0) for n, data in members.items()}
    assert members == expected


def test_object_that_changes_before_it_is_decoded_is_noticed() -> None:
    store = CodedObjects()
    store.add_object("files", "docs/1", gzip.compress(CSV), metadata={"filename": "t.csv"})
    source = S3Source(store, bucket="files", key_template="docs/{file_id}")
    (file,) = source.describe([1], TaskGroup(RecordingControl()), cached={})
    assert isinstance(file, SourceFile)
    assert (file.size, file.ranged, file.location) == (None, False, None)
    store.add_object("files", "docs/1", gzip.compress(CSV + b"x"))
    with (
        pytest.raises(FileChanged),
        source.open(file, cancellation=Cancellation(), progress=lambda _: None),
    ):
        pass


def test_object_with_an_unknown_content_coding_is_reported() -> None:
    store = CodedObjects()
    store.coding = "rot13"
    store.add_object("files", "docs/1", CSV)
    (missing,) = described(store, [1])
    assert isinstance(missing, Missing)
    assert missing.code == "PROCESSING_ERROR"


@pytest.mark.parametrize(
    "template", ["s3://b/{file_id}#{x}", "s3://b/{}", "s3://b/{file_id", "s3://b/{0}"]
)
def test_template_with_other_fields_is_rejected(template: str) -> None:
    with pytest.raises(ValueError, match="SOURCE_URL_TEMPLATE"):
        source_from_template(template, storage=FakeS3())


@pytest.mark.parametrize(("template", "key"), [
    ("s3://b/a#b?c=d/{file_id}", "a#b?c=d/7"),
    ("s3://b/a b+%2F/{file_id:05d}.txt", "a b+%2F/00007.txt"),
])  # fmt: skip
def test_key_template_is_everything_behind_the_bucket(template: str, key: str) -> None:
    source = source_from_template(template, storage=FakeS3())
    assert isinstance(source, S3Source)
    assert source.key(7) == key


@pytest.mark.parametrize("error", [SourceForbidden(), StorageError("NotImplemented")])
def test_files_are_described_one_by_one_if_they_cannot_be_listed(
    store: FakeS3, error: Exception
) -> None:
    ids = list(range(10_000, 10_100))
    known = {entry.file_id: entry for entry in described(store, ids)}

    def refuse(name: str) -> None:
        if name == "list_objects_v2":
            raise error

    store.restart()
    store.hook = refuse
    assert described(store, ids, known) == list(known.values())
    assert store.calls.count("head_object") == len(ids)
