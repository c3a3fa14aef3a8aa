"""Archives expire, and only archives: by lifecycle rules, or by the cleanup without them."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from redis import Redis

from common.errors import StorageError
from common.job_store import keys
from common.job_store.archive_references import REMOVING, ArchiveReferences, ArchiveRemovals
from common.jobs.model import Lease
from common.object_storage import StorageProfile
from common.object_storage.lifecycle import OWN_PREFIXES
from common.settings import Settings
from tests.support.fake_object_storage import CREATED_AT
from tests.support.fake_s3 import FakeS3
from worker.archive.expiry import abort_expired_uploads, delete_expired_objects
from worker.archive_builder import ArchiveBuilder

KEY = "archives/0123abcd/archive.zip"
NOW = datetime(2026, 5, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def delete_expired(storage: FakeS3, redis: Redis) -> int:
    return delete_expired_objects(
        cast("Any", storage), "archives", ArchiveRemovals(redis), max_age=2 * DAY, now=NOW
    )


def test_only_expired_objects_with_our_prefixes_are_deleted(redis: Redis) -> None:
    storage = FakeS3()
    old, young = NOW - 3 * DAY, NOW - DAY
    for prefix in (*OWN_PREFIXES, "", "documents/", "archives-of-2020/"):
        storage.add_object("archives", f"{prefix}old.zip", b"x", modified=old)
        storage.add_object("archives", f"{prefix}young.zip", b"x", modified=young)
    assert delete_expired(storage, redis) == len(OWN_PREFIXES)
    keys = {key for _, key in storage.objects}
    assert not keys & {f"{prefix}old.zip" for prefix in OWN_PREFIXES}
    assert keys >= {"old.zip", "documents/old.zip", "archives-of-2020/old.zip"}
    assert keys >= {f"{prefix}young.zip" for prefix in OWN_PREFIXES}


def test_all_pages_are_read(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.archive.listing.PAGE_SIZE", 10)
    storage = FakeS3()
    for number in range(95):
        modified = NOW - (3 * DAY if number % 2 else DAY)
        storage.add_object("archives", f"archives/{number:02}", b"x", modified=modified)
    assert (delete_expired(storage, redis), len(storage.objects)) == (47, 48)


def test_a_short_page_is_not_the_last_one(redis: Redis) -> None:
    storage = FakeS3()
    storage.max_page_size = 7
    for number in range(30):
        storage.add_object("archives", f"archives/{number:02}", b"x", modified=NOW - 3 * DAY)
    assert (delete_expired(storage, redis), storage.objects) == (30, {})


def test_an_expired_archive_that_a_job_builds_again_is_kept(redis: Redis) -> None:
    storage, references = FakeS3(), ArchiveReferences(redis)
    storage.add_object("archives", KEY, b"old", modified=NOW - 3 * DAY)
    lease = Lease(job_id=keys.new_job_id("ann"), fencing_token=1)

    def build_again(name: str) -> None:
        # Between the listing and the deletion.
        if name == "list_objects_v2":
            assert references.hold(KEY, lease, keep=60)

    storage.hook = build_again
    assert delete_expired(storage, redis) == 0
    storage.hook = lambda _: None
    redis.delete(keys.archive_references(KEY))
    assert delete_expired(storage, redis) == 1


@pytest.mark.parametrize(("multi_delete", "blocked"), [(True, ["012"]), (False, ["0", "1", "2"])])
def test_no_job_can_hold_an_archive_while_it_is_deleted(
    redis: Redis, multi_delete: bool, blocked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The listing begins at the first key.
    monkeypatch.setattr(secrets, "token_hex", lambda _: "")
    storage = FakeS3()
    # Without DeleteObjects, many deletions may take longer than no job can hold the archives.
    storage.profile = StorageProfile(multi_delete=multi_delete)
    for name in "012":
        storage.add_object("archives", f"archives/{name}", b"x", modified=NOW - 3 * DAY)
    found: list[str] = []

    def find_blocked(call: str) -> None:
        if call == "delete_objects":
            references = [keys.archive_references(f"archives/{name}") for name in "012"]
            scores = [redis.zscore(each, REMOVING) for each in references]
            found.append("".join(n for n, score in zip("012", scores, strict=True) if score))

    storage.hook = find_blocked
    assert delete_expired(storage, redis) == 3
    assert found == blocked
    assert redis.keys("*") == []


def test_only_expired_uploads_with_our_prefixes_are_aborted() -> None:
    storage = FakeS3()
    for prefix in (*OWN_PREFIXES, "documents/"):
        storage.create_multipart_upload("archives", f"{prefix}x")

    def abort(now: datetime) -> int:
        return abort_expired_uploads(cast("Any", storage), "archives", max_age=2 * DAY, now=now)

    assert abort(CREATED_AT + DAY) == 0
    assert abort(CREATED_AT + 3 * DAY) == len(OWN_PREFIXES)
    assert [upload.key for upload in storage.open_uploads.values()] == ["documents/x"]


def builder(redis: Redis, storage: Any, **env: str) -> ArchiveBuilder:
    settings = Settings.from_env({"COMPOSE_ARCHIVES": "false", **env})
    services = SimpleNamespace(
        settings=settings, storage=storage, redis=redis, queries=None, source=None
    )
    return ArchiveBuilder(cast("Any", services))


@pytest.mark.parametrize(("has_lifecycle", "deleted"), [(True, 0), (False, 2)])
def test_the_cleanup_deletes_what_is_expired_if_the_storage_does_not(
    redis: Redis, has_lifecycle: bool, deleted: int
) -> None:
    storage: Any = FakeS3()
    storage.ensure_bucket = lambda *_, **__: has_lifecycle
    storage.add_object("archives", "archives/x/archive.zip", b"x", modified=NOW - 900 * DAY)
    storage.create_multipart_upload("archives", "probe/of-a-killed-worker/target")
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


def test_what_cannot_be_deleted_does_not_affect_the_rest(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = FakeS3()
    for key in ("jobs/1/1/a.zip", "archives/0/archive.zip"):
        storage.add_object("archives", key, b"x", modified=NOW - 3 * DAY)
    delete_objects = storage.delete_objects

    def reject_jobs(bucket: str, keys: Sequence[str], **options: Any) -> None:
        if keys[0].startswith("jobs/"):
            raise StorageError
        delete_objects(bucket, keys, **options)

    monkeypatch.setattr(storage, "delete_objects", reject_jobs)
    assert delete_expired(storage, redis) == 1
    assert list(storage.objects) == [("archives", "jobs/1/1/a.zip")]
