"""JSON rendered from the job store's strings is the presenter's, byte for byte."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.live import job_json
from api.live.messages import (
    JobMessage,
    Present,
    RunningJobMessage,
    StreamFormat,
    message_from_fields,
)
from common.bootstrap import now_ms
from common.job_store import keys
from common.job_store.jobs import JobStore
from common.jobs.events import event_name
from common.jobs.model import Failure, Job, JobSpec, Priority
from common.jobs.presenter import JobPresenter
from tests.unit.api.conftest import FakeStorage

numbers = st.integers(0, 2**53).map(str)
times = st.integers(10**9, 4 * 10**12).map(str)
empty = st.just("")
metadata = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=4,
)
complete_fields = st.fixed_dictionaries(
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
        "total_bytes": numbers | empty,
        "processed_bytes": numbers | empty,
        "seconds_remaining": st.floats(0, 10**12).map(lambda value: f"{value:.1f}")
        | st.sampled_from(["inf", "-1.0", "1e300"])
        | empty,
        "retry_at": times | empty,
        "started_at": times | empty,
        "error_code": empty,
        "worker": st.text(),
    },
)


@pytest.fixture
def present(storage: FakeStorage) -> Present:
    return JobPresenter(storage, link_ttl=60, clock=now_ms).present


def by_presenter(fields: dict[str, str], present: Present) -> bytes:
    return orjson.dumps(present(Job.from_fields(fields)))


@given(complete_fields)
def test_members_are_the_same_as_the_presenters(fields: dict[str, str]) -> None:
    assert job_json.can_render(fields)
    rendered = job_json.render_members(fields).encode() + b"}"
    assert rendered == by_presenter(
        fields, JobPresenter(FakeStorage(), link_ttl=60, clock=now_ms).present
    )


@given(complete_fields, st.sampled_from([*StreamFormat]), st.sampled_from([None, "heartbeat"]))
def test_messages_are_the_same_as_the_presenters(
    fields: dict[str, str], format_: StreamFormat, name: str | None
) -> None:
    present = JobPresenter(FakeStorage(), link_ttl=60, clock=now_ms).present
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("time.time_ns", lambda: 1_790_000_000_123_456_789)
        message, job = message_from_fields(fields, name, present), Job.from_fields(fields)
        assert isinstance(message, RunningJobMessage)
        same = JobMessage(job, name or event_name(job), present)
        assert message.encode(format_) == same.encode(format_)
        assert (message.version, message.terminal, message.job) == (
            same.version,
            same.terminal,
            job,
        )


def test_jobs_can_be_rendered_until_an_attempt_fails(
    jobs: JobStore, redis: object, present: Present
) -> None:
    def fields() -> dict[str, str]:
        found: dict[str, str] = redis.hgetall(keys.status(job_id))  # type: ignore[attr-defined]
        return found

    job_id = jobs.create("alice", JobSpec(file_ids=(1,), metadata={"ü": [1.5, None]})).job.id
    assert job_json.render_members(fields()).encode() + b"}" == by_presenter(fields(), present)
    claim = jobs.claim(job_id, "worker")
    assert claim
    jobs.heartbeat(claim.lease, {"progress": 7, "seconds_remaining": "3.5", "total_bytes": 9})
    assert job_json.render_members(fields()).encode() + b"}" == by_presenter(fields(), present)
    jobs.retry_later(claim.lease, Failure(code="X", message="It broke", retryable=True), 60)
    assert not job_json.can_render(fields())
    assert message_from_fields(fields(), None, present).name == "retrying"
    jobs.cancel(job_id)
    assert not job_json.can_render(fields())
