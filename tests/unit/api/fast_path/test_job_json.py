"""What is said straight from the store's strings is what the presenter says, byte for byte."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.fast_path import job_json
from api.live.messages import Form, JobMessage, Present, RunningJobMessage, heard
from common.bootstrap import now_ms
from common.job_store import keys
from common.job_store.jobs import JobStore
from common.jobs.events import event_name
from common.jobs.model import Failure, Job, JobSpec, Priority
from common.jobs.presenter import JobPresenter
from tests.unit.api.conftest import FakeStorage

numbers = st.integers(0, 2**53).map(str)
times = st.integers(10**9, 4 * 10**12).map(str)
maybe = st.just("")
metadata = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=4,
)
whole = st.fixed_dictionaries(
    {
        "id": st.uuids().map(str),
        "user": st.just("alice"),
        "status": st.sampled_from(["queued", "processing"]),
        "priority": st.sampled_from([*Priority]).map(str),
        "lane": st.just("normal"),
        "on_missing": st.just("fail"),
        "metadata": st.dictionaries(st.text(), metadata, max_size=3).map(
            lambda value: orjson.dumps(value).decode()
        ),
        "created_at": times,
        "updated_at": times,
        **dict.fromkeys(
            (
                *("attempt", "max_attempts", "fence", "progress", "version"),
                *("total_files", "processed_files"),
            ),
            numbers,
        ),
    },
    optional={
        "total_bytes": numbers | maybe,
        "processed_bytes": numbers | maybe,
        "seconds_remaining": st.floats(0, 10**6).map(lambda value: f"{value:.1f}") | maybe,
        "retry_at": times | maybe,
        "started_at": times | maybe,
        "error_code": maybe,
        "worker": st.text(),
    },
)


@pytest.fixture
def present(storage: FakeStorage) -> Present:
    return JobPresenter(storage, link_ttl=60, clock=now_ms).present


def slow(fields: dict[str, str], present: Present) -> bytes:
    return orjson.dumps(present(Job.from_fields(fields)))


@given(whole)
def test_members_are_the_presenters(fields: dict[str, str]) -> None:
    assert job_json.can_render(fields)
    quick = job_json.render_members(fields).encode() + b"}"
    assert quick == slow(fields, JobPresenter(FakeStorage(), link_ttl=60, clock=now_ms).present)


@given(whole, st.sampled_from([*Form]), st.sampled_from([None, "heartbeat"]))
def test_events_are_the_same(fields: dict[str, str], form: Form, name: str | None) -> None:
    present = JobPresenter(FakeStorage(), link_ttl=60, clock=now_ms).present
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("time.time_ns", lambda: 1_790_000_000_123_456_789)
        event, job = heard(fields, name, present), Job.from_fields(fields)
        assert isinstance(event, RunningJobMessage)
        same = JobMessage(job, name or event_name(job), present)
        assert event.bytes_for(form) == same.bytes_for(form)
        assert (event.version, event.terminal, event.job) == (same.version, same.terminal, job)


def test_what_the_store_writes_suits_until_an_attempt_fails(
    jobs: JobStore, redis: object, present: Present
) -> None:
    def fields() -> dict[str, str]:
        found: dict[str, str] = redis.hgetall(keys.status(job_id))  # type: ignore[attr-defined]
        return found

    job_id = jobs.create("alice", JobSpec(file_ids=(1,), metadata={"ü": [1.5, None]})).job.id
    assert job_json.render_members(fields()).encode() + b"}" == slow(fields(), present)
    claim = jobs.claim(job_id, "worker")
    assert claim
    jobs.heartbeat(claim.lease, {"progress": 7, "seconds_remaining": "3.5", "total_bytes": 9})
    assert job_json.render_members(fields()).encode() + b"}" == slow(fields(), present)
    jobs.retry_later(claim.lease, Failure(code="X", message="It broke", retryable=True), 60)
    assert not job_json.can_render(fields())
    assert heard(fields(), None, present).name == "retrying"
    jobs.cancel(job_id)
    assert not job_json.can_render(fields())
