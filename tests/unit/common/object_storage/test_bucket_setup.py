"""The setup of the archive bucket: only the expected owner's, and with clear errors.

Rules: "Verifying bucket ownership with bucket owner condition" in the Amazon S3 user guide;
"HeadBucket" in the Amazon S3 API reference (it needs s3:ListBucket).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.stub import Stubber

from common.errors import StorageError
from common.object_storage import CredentialsError, ObjectStorage
from common.object_storage.lifecycle import merge_rules
from common.object_storage.options import StorageOptions

OWNER = "111122223333"
RULES = merge_rules([], 2)


def make_storage(**options: str) -> ObjectStorage:
    return ObjectStorage(
        endpoint="http://127.0.0.1:1", region="us-east-1", access_key="a", secret_key="b",
        options=StorageOptions(**options),
    )  # fmt: skip


@pytest.fixture
def storage() -> Iterator[ObjectStorage]:
    storage = make_storage()
    yield storage
    storage.close()


def test_no_call_reaches_a_bucket_of_another_account() -> None:
    storage = make_storage(bucket_owner=OWNER)
    expected: dict[str, Any] = {"Bucket": "archives", "ExpectedBucketOwner": OWNER}
    with Stubber(storage._setup) as stub:
        stub.add_response("head_bucket", {}, expected)
        stub.add_response("get_bucket_lifecycle_configuration", {"Rules": []}, expected)
        stub.add_response(
            "put_bucket_lifecycle_configuration", {},
            {**expected, "LifecycleConfiguration": {"Rules": RULES}},
        )  # fmt: skip
        stub.add_response("get_bucket_lifecycle_configuration", {"Rules": RULES}, expected)
        assert storage.ensure_bucket("archives", ttl=86_400)
        stub.assert_no_pending_responses()
    storage.close()


@pytest.mark.parametrize("status", [403, 400, 405, 501])
def test_a_bucket_that_may_not_be_looked_at_can_still_be_used(
    storage: ObjectStorage, status: int
) -> None:
    with Stubber(storage._setup) as stub:
        stub.add_client_error("head_bucket", str(status), "", status)
        stub.add_client_error("get_bucket_lifecycle_configuration", "AccessDenied", "", 403)
        assert storage.ensure_bucket("archives", ttl=86_400) is False
        # Without knowing the existing rules, none may be written: that would delete them.
        stub.assert_no_pending_responses()


def test_a_storage_that_is_unavailable_is_asked_again_later(storage: ObjectStorage) -> None:
    with Stubber(storage._setup) as stub:
        stub.add_client_error("head_bucket", "503", "", 503)
        with pytest.raises(StorageError, match="503"):
            storage.ensure_bucket("archives", ttl=86_400)


def test_the_error_says_what_went_wrong(storage: ObjectStorage) -> None:
    with Stubber(storage._setup) as stub:
        stub.add_client_error("head_bucket", "404", "", 404)
        stub.add_client_error("create_bucket", "TooManyBuckets", "", 400)
        with pytest.raises(StorageError, match="archives could not be set up: TooManyBuckets"):
            storage.ensure_bucket("archives")


def test_an_unreachable_storage_is_named_without_its_address(storage: ObjectStorage) -> None:
    storage._setup.meta.config.retries = {"total_max_attempts": 1}  # type: ignore[attr-defined]
    with pytest.raises(StorageError) as raised:
        storage.ensure_bucket("archives")
    assert "EndpointConnectionError" in str(raised.value)
    assert "127.0.0.1" not in str(raised.value)


def test_missing_credentials_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("botocore.session.Session.get_credentials", lambda _: None)
    storage = ObjectStorage(endpoint="http://127.0.0.1:1", region="us-east-1")
    with pytest.raises(CredentialsError, match="AWS_ACCESS_KEY_ID"):
        storage.ensure_bucket("archives")
    storage.close()
