"""A machine whose clock is too wrong for S3 uses the clock of the storage."""

from __future__ import annotations

import time

import pytest

from common.object_storage import ObjectStorage
from stack.services import S3
from tests.integration.archive.conftest import Buckets


@pytest.mark.parametrize("hours", [-2, 2])
def test_requests_succeed_with_a_clock_that_is_hours_off(
    buckets: Buckets, s3: S3, hours: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = time.time
    monkeypatch.setattr("common.object_storage.sigv4.time.time", lambda: right() + hours * 3600)
    skewed = ObjectStorage(
        endpoint=s3.endpoint,
        region="us-east-1",
        access_key=s3.access_key,
        secret_key=s3.secret_key,
    )
    buckets.storage.put_object(buckets.archives, "here", b"content")
    assert skewed.head_object(buckets.archives, "here").size == 7
    skewed.put_object(buckets.archives, "there", b"content")
    skewed.close()
