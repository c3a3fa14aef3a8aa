"""An archive bucket that others use too: their rules and objects stay as they are."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from common.object_storage import ObjectStorage
from stack.sample_catalog import s3_client
from stack.services import S3

RULES: list[dict[str, Any]] = [
    {"ID": "a-logs", "Status": "Enabled", "Filter": {"Prefix": "logs/"}, "Expiration": {"Days": 9}},
    {"ID": "b-tmp", "Status": "Enabled", "Filter": {"Prefix": "tmp/"}, "Expiration": {"Days": 1}},
    {"ID": "c-off", "Status": "Disabled", "Filter": {"Prefix": "x/"}, "Expiration": {"Days": 3}},
]


@pytest.fixture
def client(s3: S3, store: ObjectStorage) -> Iterator[Any]:
    del store  # Waits until the server is ready.
    with closing(s3_client(s3.endpoint)) as client:
        yield client


def rules_of(client: Any, bucket: str) -> dict[str, Any]:
    response = client.get_bucket_lifecycle_configuration(Bucket=bucket)
    return {rule["ID"]: rule for rule in response["Rules"]}


def test_rules_versions_and_objects_of_others_survive_the_start_of_a_worker(
    client: Any, store: ObjectStorage
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

    assert store.ensure_bucket(bucket, ttl=86_400)
    after = rules_of(client, bucket)
    assert {name: after[name] for name in before} == before
    own = [rule for name, rule in after.items() if name not in before]
    assert {rule["Filter"]["Prefix"] for rule in own} == {
        "archives/", "indexes/", "jobs/", "probe/",
    }  # fmt: skip
    versions = client.list_object_versions(Bucket=bucket, Prefix="their/")["Versions"]
    assert len(versions) == 2

    assert store.ensure_bucket(bucket, ttl=86_400)
    assert rules_of(client, bucket) == after


def test_the_rule_of_earlier_versions_for_the_whole_bucket_is_replaced(
    client: Any, store: ObjectStorage
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
    assert store.ensure_bucket(bucket, ttl=86_400)
    assert "archives-expire" not in rules_of(client, bucket)
