"""A machine whose clock is wrong by more than S3 bears with goes by the storage's clock."""

from __future__ import annotations

import time

import pytest

from common.object_storage import ObjectStorage
from stack.services import S3
from tests.integration.archive.conftest import Buckets


@pytest.mark.parametrize("hours", [-2, 2])
def test_a_store_answers_a_machine_whose_clock_is_hours_off(
    buckets: Buckets, s3: S3, hours: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = time.time
    monkeypatch.setattr("common.object_storage.sigv4.time.time", lambda: right() + hours * 3600)
    elsewhere = ObjectStorage(
        endpoint=s3.endpoint,
        region="us-east-1",
        access_key=s3.access_key,
        secret_key=s3.secret_key,
    )
    buckets.store.put_object(buckets.archives, "here", b"content")
    assert elsewhere.head_object(buckets.archives, "here").size == 7
    elsewhere.put_object(buckets.archives, "there", b"content")
    elsewhere.close()
