"""How requests are stored."""

from __future__ import annotations

import hashlib

from common.job_store.records import decode_spec, encode_request
from common.jobs.model import FileGrant, JobSpec


def test_the_digest_of_a_request_without_new_members_is_that_of_earlier_releases() -> None:
    """Otherwise an Idempotency-Key from before an upgrade would count as reused for another."""
    stored, digest = encode_request(JobSpec(file_ids=(1, 2)), FileGrant())
    assert stored == (
        '{"file_ids":[1,2],"priority":"normal","on_missing":"fail","file_name":null,'
        '"callback_url":null,"metadata":{}}'
    )
    assert digest == hashlib.sha256(stored.encode()).hexdigest()


def test_requests_with_different_times_have_different_digests() -> None:
    specs = [JobSpec(file_ids=(1,), expires_in=seconds) for seconds in (None, 60, 61)]
    encoded = [encode_request(spec, FileGrant()) for spec in specs]
    assert len({digest for _, digest in encoded}) == 3
    assert [decode_spec(stored) for stored, _ in encoded] == specs
