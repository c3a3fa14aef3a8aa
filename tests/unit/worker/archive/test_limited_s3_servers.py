"""Storages that lack parts of the S3 API, and how archives are built there."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Event
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import Mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from common.errors import CancelRequested, FileTooLarge, NetworkError
from common.job_store import keys
from common.job_store.storage_capabilities import StorageCapabilities
from common.object_storage import BadChecksum, NoSuchKey, StorageProfile
from common.object_storage.errors import StorageBusy
from common.settings import Settings
from common.sources.s3 import S3Source
from tests.support.archives import RecordingControl, contents, make_request
from tests.support.fake_s3 import FakeS3
from worker.archive import BuildOptions, build
from worker.archive.planning.layout import GIB, MIB, PartSizes
from worker.archive.storage_probe import probe_storage
from worker.archive_builder import ArchiveBuilder

ALL = StorageProfile()
NO_COPIES = ("range_copy", "copy_checksum", "copy_precondition")
SMALL = PartSizes(min_part_size=100, write_size=150, copy_size=400)
#: The same for a storage that requires equal parts.
EQUAL = PartSizes(min_part_size=100, write_size=150, copy_size=400, equal_parts=True)


@pytest.mark.parametrize(
    ("rules", "lacking", "can_compose"),
    [
        ({}, (), True),
        ({"returns_checksums": False}, ("copy_checksum",), True),
        ({"checks_if_match": False}, ("copy_precondition",), False),
        ({"equal_parts": True}, ("mixed_parts", *NO_COPIES), False),
        ({"copies": False}, NO_COPIES, False),
        ({"trailers": False}, ("trailing_crc32",), True),
        (
            {"copies": False, "equal_parts": True},
            ("mixed_parts", *NO_COPIES),
            False,
        ),
    ],
    ids=str,
)
def test_probe_detects_what_a_storage_does_not_support(
    rules: dict[str, bool], lacking: tuple[str, ...], can_compose: bool
) -> None:
    storage = FakeS3(min_part_size=5 * MIB, **rules)
    found = probe_storage(cast("Any", storage), "archives")
    assert found == replace(ALL, **dict.fromkeys(lacking, False))
    assert found.can_compose is can_compose
    assert storage.objects == {}
    assert storage.open_uploads == {}


def test_probe_prefers_checksums_in_responses_to_trailers() -> None:
    storage = FakeS3(min_part_size=5 * MIB, part_crc32=True)
    found = probe_storage(cast("Any", storage), "archives")
    assert found == replace(ALL, returns_part_crc32=True, trailing_crc32=False)


def storage_with(sizes: list[int], **rules: bool) -> tuple[FakeS3, dict[str, bytes]]:
    storage, rng = FakeS3(**rules), random.Random(3)
    files = {f"{i}.bin": rng.randbytes(size) for i, size in enumerate(sizes)}
    for i, (name, data) in enumerate(files.items()):
        storage.add_object("files", str(i), data, metadata={"filename": name})
    return storage, files


def build_contents(
    storage: FakeS3, count: int, *, part_sizes: PartSizes, can_copy: bool
) -> dict[str, bytes]:
    artifact = build(
        make_request(list(range(count))),
        source=S3Source(storage, bucket="files", key_template="{file_id}"),
        storage=storage,
        control=RecordingControl(),
        options=BuildOptions(part_sizes=part_sizes, can_copy=can_copy),
    )
    assert storage.open_uploads == {}
    return contents(storage.objects["archives", artifact.key].data)


@settings(deadline=None)
@given(st.lists(st.integers(0, 700), min_size=1, max_size=12))
def test_a_storage_that_requires_equal_parts_gets_equal_parts(sizes: list[int]) -> None:
    storage, files = storage_with(sizes, equal_parts=True)
    assert build_contents(storage, len(sizes), part_sizes=EQUAL, can_copy=False) == files


def test_a_rebuild_with_equal_parts_reads_the_previous_archive() -> None:
    storage, files = storage_with([40] * 30, equal_parts=True)
    wide = replace(EQUAL, write_size=900)
    build_contents(storage, 30, part_sizes=wide, can_copy=False)
    storage.add_object("files", "29", b"new", metadata={"filename": "29.bin"})
    storage.restart()
    again = build_contents(storage, 30, part_sizes=wide, can_copy=False)
    assert again == {**files, "29.bin": b"new"}
    assert "upload_part_copy" not in storage.calls
    assert storage.calls.count("read_into") < 30


def test_a_rebuild_makes_no_copies_on_a_storage_without_them() -> None:
    storage, files = storage_with([60] * 30, copies=False)
    build_contents(storage, 30, part_sizes=SMALL, can_copy=False)
    storage.add_object("files", "29", b"new", metadata={"filename": "29.bin"})
    assert build_contents(storage, 30, part_sizes=SMALL, can_copy=False) == {
        **files,
        "29.bin": b"new",
    }


def test_each_copied_range_is_read_once_if_copies_return_no_checksum() -> None:
    storage, files = storage_with([5_000, 5_000], returns_checksums=False)
    assert build_contents(storage, 2, part_sizes=SMALL, can_copy=True) == files
    # The first bytes of both files are read as well, to fill up the parts with their headers.
    assert storage.calls.count("read_into") - 2 == storage.calls.count("upload_part_copy") > 20


def test_files_are_written_if_copies_would_need_too_many_parts() -> None:
    storage, files = storage_with([500] * 30)
    few = PartSizes(min_part_size=100, write_size=150, copy_size=400, max_parts=20)
    assert build_contents(storage, 30, part_sizes=few, can_copy=True) == files
    assert "upload_part_copy" not in storage.calls


def test_files_that_no_upload_can_hold_are_rejected_before_anything_is_read() -> None:
    storage, _ = storage_with([1] * 30)
    for number in range(30):
        storage.objects["files", str(number)].data = range(10 * GIB)  # type: ignore[assignment]
    with pytest.raises(FileTooLarge):
        build_contents(storage, 30, part_sizes=PartSizes(), can_copy=False)
    assert set(storage.calls) == {"get_object", "head_object"}


def builder(
    redis: Redis,
    storage: FakeS3,
    *,
    compose: bool = True,
    archive_bucket: str = "archives",
    **env: str,
) -> ArchiveBuilder:
    storage.ensure_bucket = lambda *_, **__: True  # type: ignore[attr-defined]
    configured = Settings.from_env(
        {
            "ARCHIVE_BUCKET": archive_bucket,
            "ARCHIVE_TTL": "60",
            "COMPOSE_ARCHIVES": str(compose).lower(),
            **env,
        }
    )
    return ArchiveBuilder(cast("Any", SimpleNamespace(
        settings=configured, storage=storage, redis=redis, queries=None, source=None,
    )))  # fmt: skip


def cancel() -> None:
    """End a wait for another thread."""
    raise CancelRequested


def test_copies_are_not_tested_if_composing_is_turned_off(redis: Redis) -> None:
    storage = FakeS3(min_part_size=5 * MIB)
    profile = builder(redis, storage, compose=False).prepare()
    assert not profile.can_compose
    assert profile.full_object_crc32
    assert "upload_part_copy" not in storage.calls
    assert storage.objects == {}


def test_the_result_of_the_probe_is_published(redis: Redis) -> None:
    storage = FakeS3(min_part_size=5 * MIB, equal_parts=True)
    builder(redis, storage, compose=True).prepare()
    lacking = ("mixed_parts", *NO_COPIES)
    assert StorageCapabilities(redis).read() == {
        **ALL.to_dict(), **dict.fromkeys(lacking, False), "lifecycle": True,
    }  # fmt: skip


def test_workers_share_one_probe(redis: Redis) -> None:
    storage = FakeS3(min_part_size=5 * MIB, equal_parts=True)
    profile = builder(redis, storage, compose=True).prepare()
    storage.restart()
    assert builder(redis, storage, compose=True).prepare() == profile
    assert storage.calls == []
    assert storage.profile == profile


def test_a_worker_waits_for_the_profile_while_the_job_store_is_unavailable(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = FakeS3(min_part_size=5 * MIB)
    profile = builder(redis, storage).prepare()
    storage.restart()
    server = redis.connection_pool.connection_kwargs["server"]
    server.connected = False
    with pytest.raises(RedisConnectionError):
        builder(redis, storage).prepare()
    control = Mock()
    monkeypatch.setattr(
        "worker.archive_builder.time.sleep", lambda _: setattr(server, "connected", True)
    )
    assert builder(redis, storage)._prepare(control) == profile
    assert storage.calls == []
    control.check.assert_called_once()
    control.extend_deadline.assert_called_once()


def test_attempts_do_not_wait_for_each_other_while_the_job_store_does_not_respond(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = FakeS3(min_part_size=5 * MIB)
    archives = builder(redis, storage)
    monkeypatch.setattr(storage, "ensure_bucket", Mock())
    hangs, ends = Event(), Event()

    def hang(_: str) -> None:
        hangs.set()
        ends.wait(5)
        raise RedisTimeoutError

    monkeypatch.setattr(archives._shared, "read_shared", hang)
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(archives.prepare)
        assert hangs.wait(5)
        monkeypatch.setattr(archives._shared, "read_shared", Mock(side_effect=RedisTimeoutError))
        with pytest.raises(RedisTimeoutError):
            archives.prepare(cancel)
        ends.set()
        assert isinstance(first.exception(5), RedisTimeoutError)
    storage.ensure_bucket.assert_not_called()  # type: ignore[attr-defined]


def test_a_profile_of_another_storage_or_an_old_one_is_not_used(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = FakeS3(min_part_size=5 * MIB)
    builder(redis, storage, compose=True).prepare()
    storage.restart()
    builder(redis, storage, compose=True, archive_bucket="others").prepare()
    assert storage.calls
    storage.restart()
    monkeypatch.setattr("common.job_store.storage_capabilities.SHARED_FOR", -1)
    builder(redis, storage, compose=True, archive_bucket="others").prepare()
    assert storage.calls


@pytest.mark.parametrize("env", [
    {"S3_REGION": "eu-west-1"}, {"COMPOSE_ARCHIVES": "false"}, {"S3_SSE": "AES256"},
    {"S3_SSE": "aws:kms"}, {"S3_SSE_KMS_KEY_ID": "key"}, {"S3_ACL": "private"},
    {"S3_STORAGE_CLASS": "STANDARD_IA"}, {"S3_BUCKET_OWNER": "123456789012"},
    {"S3_REQUEST_PAYER": "requester"},
], ids=str)  # fmt: skip
def test_a_profile_of_the_same_storage_with_other_settings_is_not_used(
    redis: Redis, env: dict[str, str]
) -> None:
    storage = FakeS3(min_part_size=5 * MIB)
    builder(redis, storage).prepare()
    storage.restart()
    builder(redis, storage, **env).prepare()
    assert storage.calls


def test_a_profile_of_another_endpoint_of_the_environment_is_not_used(redis: Redis) -> None:
    storage = FakeS3(min_part_size=5 * MIB)
    builder(redis, storage, S3_ENDPOINT_URL="").prepare()
    storage.restart()
    storage.endpoint = "http://other:9000"  # As AWS_ENDPOINT_URL_S3 names it.
    builder(redis, storage, S3_ENDPOINT_URL="").prepare()
    assert storage.calls


def test_settings_that_do_not_change_the_result_of_a_probe_do_not_cause_another(
    redis: Redis,
) -> None:
    storage = FakeS3(min_part_size=5 * MIB)
    builder(redis, storage).prepare()
    storage.restart()
    builder(redis, storage, S3_PUBLIC_ENDPOINT_URL="https://files.example").prepare()
    assert storage.calls == []


def test_the_identity_of_the_storage_in_the_job_store_shows_no_address(redis: Redis) -> None:
    storage = FakeS3(min_part_size=5 * MIB)
    storage.endpoint = "http://internal-name:9000"
    builder(redis, storage).prepare()
    assert b"internal-name" not in redis.get(keys.STORAGE_CAPABILITIES).encode()  # type: ignore[union-attr]


def test_the_storage_is_probed_again_after_an_error(redis: Redis) -> None:
    storage = FakeS3(min_part_size=5 * MIB)
    archives = builder(redis, storage, compose=True)
    assert archives.prepare().mixed_parts
    storage.equal_parts = True
    archives._distrust_profile(BadChecksum("InvalidPart"))
    assert archives.prepare().mixed_parts, "probed a moment ago"
    archives._probed_at = -1e9
    archives._distrust_profile(StorageBusy("503"))
    archives._distrust_profile(NoSuchKey("404"))
    archives._distrust_profile(NetworkError("reset"))
    assert archives.prepare().mixed_parts
    archives._distrust_profile(BadChecksum("InvalidPart"))
    assert not archives.prepare().mixed_parts


def test_a_wait_for_the_preparation_of_the_storage_can_be_cancelled(redis: Redis) -> None:
    archives = builder(redis, FakeS3(min_part_size=5 * MIB), compose=True)
    with archives._lock, pytest.raises(CancelRequested):
        archives.prepare(cancel)
