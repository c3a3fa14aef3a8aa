"""An archive bucket that others use too: their rules and objects stay as they are."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from types import SimpleNamespace
from typing import Any, cast

import pytest
from redis import Redis

from common.job_store.client import open_client
from common.job_store.dead_letters import DeadLetters
from common.job_store.jobs import JobStore
from common.job_store.queries import JobQueries
from common.object_storage import ObjectStorage
from common.object_storage.lifecycle import OWN_PREFIXES
from common.settings import Settings
from common.sources import source_from_template
from stack.sample_catalog import s3_client
from stack.services import S3, Valkey
from tests.support.archives import RecordingControl, make_request
from tests.unit.conftest import RecordedWakeUps
from worker.archive import build
from worker.archive_builder import ArchiveBuilder
from worker.maintenance.cleanup import Cleanup

RULES: list[dict[str, Any]] = [
    {"ID": "a-logs", "Status": "Enabled", "Filter": {"Prefix": "logs/"}, "Expiration": {"Days": 9}},
    {"ID": "b-tmp", "Status": "Enabled", "Filter": {"Prefix": "tmp/"}, "Expiration": {"Days": 1}},
    {"ID": "c-off", "Status": "Disabled", "Filter": {"Prefix": "x/"}, "Expiration": {"Days": 3}},
]


@pytest.fixture
def redis(valkey: Valkey) -> Iterator[Redis]:
    client = open_client(valkey.url, timeout=5)
    client.flushall()
    yield client
    client.close()


@pytest.fixture
def client(s3: S3, storage: ObjectStorage) -> Iterator[Any]:
    del storage  # Waits until the server is ready.
    with closing(s3_client(s3.endpoint)) as client:
        yield client


def rules_of(client: Any, bucket: str) -> dict[str, Any]:
    response = client.get_bucket_lifecycle_configuration(Bucket=bucket)
    return {rule["ID"]: rule for rule in response["Rules"]}


def test_rules_versions_and_objects_of_others_survive_the_start_of_a_worker(
    client: Any, storage: ObjectStorage
) -> None:
    bucket = f"shared-{uuid.uuid4().hex[:8]}"
    client.create_bucket(Bucket=bucket)
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    for version in (b"one", b"two"):
        client.put_object(Bucket=bucket, Key="their/file", Body=version)
    client.put_bucket_lifecycle_configuration(
        Bucket=bucket, LifecycleConfiguration={"Rules": RULES}
    )
    before = rules_of(client, bucket)

    assert storage.ensure_bucket(bucket, ttl=86_400)
    after = rules_of(client, bucket)
    assert {name: after[name] for name in before} == before
    own = [rule for name, rule in after.items() if name not in before]
    assert {rule["Filter"]["Prefix"] for rule in own} == {
        "archives/", "indexes/", "jobs/", "probe/",
    }  # fmt: skip
    versions = client.list_object_versions(Bucket=bucket, Prefix="their/")["Versions"]
    assert len(versions) == 2

    assert storage.ensure_bucket(bucket, ttl=86_400)
    assert rules_of(client, bucket) == after


def test_the_rule_of_earlier_versions_for_the_whole_bucket_is_replaced(
    client: Any, storage: ObjectStorage
) -> None:
    bucket = f"former-{uuid.uuid4().hex[:8]}"
    client.create_bucket(Bucket=bucket)
    former = {
        "ID": "archives-expire",
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        "Expiration": {"Days": 2},
    }
    client.put_bucket_lifecycle_configuration(
        Bucket=bucket, LifecycleConfiguration={"Rules": [former]}
    )
    assert storage.ensure_bucket(bucket, ttl=86_400)
    assert "archives-expire" not in rules_of(client, bucket)


def versions_of(client: Any, bucket: str) -> set[tuple[str, str, str, bool]]:
    """Return all versions and delete markers of foreign objects; True for the current ones.

    In a bucket with versioning, deleting an object only adds a marker.
    """
    pages = client.get_paginator("list_object_versions").paginate(Bucket=bucket)
    return {
        (version["Key"], version["VersionId"], version.get("ETag", "deleted"), version["IsLatest"])
        for page in pages
        for version in page.get("Versions", []) + page.get("DeleteMarkers", [])
        if not version["Key"].startswith(OWN_PREFIXES)
    }


def uploads_of(client: Any, bucket: str) -> set[tuple[str, str]]:
    response = client.list_multipart_uploads(Bucket=bucket)
    return {(upload["Key"], upload["UploadId"]) for upload in response.get("Uploads", [])}


@pytest.mark.timeout(300)
def test_a_thousand_foreign_objects_survive_a_start_two_hundred_jobs_and_the_cleanup(
    client: Any, storage: ObjectStorage, redis: Redis
) -> None:
    bucket = f"shared-{uuid.uuid4().hex[:8]}"
    client.create_bucket(Bucket=bucket)
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    client.put_bucket_lifecycle_configuration(
        Bucket=bucket, LifecycleConfiguration={"Rules": RULES}
    )
    keys = [f"their/{number}" for number in range(900)]
    # Names that resemble ours.
    keys += [
        f"{name}{number}" for name in ("archives", "jobs-", "probe.", "a/") for number in range(25)
    ]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda key: storage.put_object(bucket, key, key.encode()), keys))
    for key in ("their/upload", "archives-of-others"):
        client.create_multipart_upload(Bucket=bucket, Key=key)
    rules, versions = rules_of(client, bucket), versions_of(client, bucket)
    uploads = uploads_of(client, bucket)
    assert (len(versions), len(uploads)) == (1_000, 2)

    settings = Settings.from_env(
        {"ARCHIVE_BUCKET": bucket, "SOURCE_URL_TEMPLATE": f"s3://{bucket}/their/{{file_id}}"}
    )
    services = SimpleNamespace(
        settings=settings,
        storage=storage,
        redis=redis,
        queries=JobQueries(redis),
        source=source_from_template(settings.source_url_template, storage=storage),
    )
    archives = ArchiveBuilder(cast("Any", services))
    archives.prepare()

    def run_job(number: int) -> None:
        request = make_request([number, number + 1], bucket=bucket, job_id=str(uuid.uuid4()))
        build(request, source=services.source, storage=storage, control=RecordingControl())

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(run_job, range(200)))
    jobs = JobStore(redis, RecordedWakeUps())
    cleanup = Cleanup(
        redis,
        services.queries,
        DeadLetters(redis, jobs),
        storage,
        bucket=bucket,
        job_ttl=60,
        job_deadline=0,
    )
    cleanup.run()
    archives._has_lifecycle = False
    archives.delete_expired()

    assert versions_of(client, bucket) == versions
    assert uploads_of(client, bucket) == uploads
    assert client.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    after = rules_of(client, bucket)
    assert {name: after[name] for name in rules} == rules
