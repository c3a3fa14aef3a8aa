"""Archives expire, and only archives: by lifecycle rules, or by the cleanup without them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from redis import Redis

from common.object_storage.lifecycle import OWN_PREFIXES
from common.settings import Settings
from tests.support.fake_s3 import FakeS3
from worker.archive.expiry import delete_expired_objects
from worker.archive_builder import ArchiveBuilder

NOW = datetime(2026, 5, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def test_only_expired_objects_with_our_prefixes_are_deleted() -> None:
    storage = FakeS3()
    old, young = NOW - 3 * DAY, NOW - DAY
    for prefix in (*OWN_PREFIXES, "", "documents/", "archives-of-2020/"):
        storage.add_object("archives", f"{prefix}old.zip", b"x", modified=old)
        storage.add_object("archives", f"{prefix}young.zip", b"x", modified=young)
    deleted = delete_expired_objects(cast("Any", storage), "archives", max_age=2 * DAY, now=NOW)
    assert deleted == len(OWN_PREFIXES)
    keys = {key for _, key in storage.objects}
    assert not keys & {f"{prefix}old.zip" for prefix in OWN_PREFIXES}
    assert keys >= {"old.zip", "documents/old.zip", "archives-of-2020/old.zip"}
    assert keys >= {f"{prefix}young.zip" for prefix in OWN_PREFIXES}


def test_all_pages_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.archive.listing.PAGE_SIZE", 10)
    storage = FakeS3()
    for number in range(95):
        modified = NOW - (3 * DAY if number % 2 else DAY)
        storage.add_object("archives", f"archives/{number:02}", b"x", modified=modified)
    deleted = delete_expired_objects(cast("Any", storage), "archives", max_age=2 * DAY, now=NOW)
    assert (deleted, len(storage.objects)) == (47, 48)


def test_a_short_page_is_not_the_last_one() -> None:
    storage = FakeS3()
    storage.max_page_size = 7
    for number in range(30):
        storage.add_object("archives", f"archives/{number:02}", b"x", modified=NOW - 3 * DAY)
    deleted = delete_expired_objects(cast("Any", storage), "archives", max_age=2 * DAY, now=NOW)
    assert (deleted, storage.objects) == (30, {})


def builder(redis: Redis, storage: Any, **env: str) -> ArchiveBuilder:
    settings = Settings.from_env({"COMPOSE_ARCHIVES": "false", **env})
    services = SimpleNamespace(
        settings=settings, storage=storage, redis=redis, queries=None, source=None
    )
    return ArchiveBuilder(cast("Any", services))


@pytest.mark.parametrize(("has_lifecycle", "deleted"), [(True, 0), (False, 1)])
def test_the_cleanup_deletes_expired_archives_if_the_storage_does_not(
    redis: Redis, has_lifecycle: bool, deleted: int
) -> None:
    storage: Any = FakeS3()
    storage.ensure_bucket = lambda *_, **__: has_lifecycle
    storage.add_object("archives", "archives/x/archive.zip", b"x", modified=NOW - 900 * DAY)
    archives = builder(redis, storage)
    archives.prepare()
    assert archives.delete_expired() == deleted


def test_a_bucket_that_is_not_managed_is_left_alone(redis: Redis) -> None:
    storage: Any = FakeS3()
    storage.add_object("archives", "archives/x/archive.zip", b"x", modified=NOW - 900 * DAY)
    archives = builder(redis, storage, MANAGE_BUCKET="false")
    archives.prepare()  # The fake has no ensure_bucket: a call would fail.
    assert archives.delete_expired() == 0


@pytest.mark.parametrize("template", [
    "s3://archives/{file_id}", "s3://archives/archives/{file_id}", "s3://archives/jobs/x/{file_id}",
    "s3://archives/arch{file_id}", "s3://archives//{file_id}",
])  # fmt: skip
def test_a_source_in_the_archive_bucket_needs_a_prefix_of_its_own(
    redis: Redis, template: str
) -> None:
    with pytest.raises(ValueError, match="ARCHIVE_BUCKET"):
        builder(redis, FakeS3(), SOURCE_URL_TEMPLATE=template)


@pytest.mark.parametrize("template", [
    "s3://archives/files/{file_id}", "s3://files/archives/{file_id}",
    "https://archives/archives/{file_id}",
])  # fmt: skip
def test_a_source_with_another_prefix_or_bucket_is_accepted(redis: Redis, template: str) -> None:
    builder(redis, FakeS3(), SOURCE_URL_TEMPLATE=template)
