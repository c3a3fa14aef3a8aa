"""A job as its client sees it."""

from __future__ import annotations

import dataclasses

import pytest

from common.jobs.model import Failure, Job
from common.jobs.presenter import JobPresenter, iso
from common.jobs.transitions import JobState
from tests.unit.api.conftest import ARTIFACT, FakeStorage

NOW = 1_700_000_000_123


@pytest.fixture
def job() -> Job:
    fields = {
        "id": "01234567-89ab-4cde-8f01-23456789abcd",
        "user": "ann",
        "status": "processing",
        "version": "3",
        "priority": "normal",
        "on_missing": "fail",
        "attempt": "1",
        "max_attempts": "4",
        "fence": "1",
        "progress": "40",
        "total_files": "5",
        "processed_files": "2",
        "total_bytes": "1000",
        "processed_bytes": "400",
        "seconds_remaining": "7.4",
        "metadata": '{"a":[]}',
        "created_at": str(NOW - 5_000),
        "started_at": str(NOW - 4_000),
        "updated_at": str(NOW),
    }
    return Job.from_fields(fields)


@pytest.fixture
def presenter() -> JobPresenter:
    return JobPresenter(FakeStorage(), link_ttl=3600)


@pytest.fixture
def completed(job) -> Job:
    return dataclasses.replace(
        job,
        status=JobState.COMPLETED,
        artifact=ARTIFACT,
        seconds_remaining=None,
        completed_at=NOW,
        expires_at=NOW + 86_400_000,
    )


def test_a_running_job_shows_where_it_is(presenter, job):
    shown = presenter.present(job)
    assert shown["status"] == "processing"
    assert (shown["processedBytes"], shown["totalBytes"]) == (400, 1000)
    assert shown["estimatedSecondsRemaining"] == 7
    assert shown["estimatedCompletion"] == iso(NOW + 7_400)
    assert shown["metadata"] == {"a": []}
    assert shown["createdAt"] == "2023-11-14T22:13:15.123Z"


def test_what_is_not_known_is_null(presenter, job):
    shown = presenter.present(job)
    for member in ("queuePosition", "downloadUrl", "expiresAt", "fileName", "error", "retryAt"):
        assert shown[member] is None


def test_a_completed_job_carries_a_link_signed_now(presenter, completed):
    shown = presenter.present(completed, NOW)
    assert shown["downloadUrl"].endswith("name=files.zip&expires=3600")
    assert shown["expiresAt"] == iso(NOW + 3_600_000)
    assert (shown["fileSize"], shown["checksum"]) == (1234, "crc32:0badcafe")


def test_a_link_ends_with_the_archive(presenter, completed):
    now = NOW + 86_400_000 - 60_000
    shown = presenter.present(completed, now)
    assert shown["downloadUrl"].endswith("expires=60")
    assert shown["expiresAt"] == iso(NOW + 86_400_000)


@pytest.mark.parametrize("past", [0, 1])
def test_no_link_outlives_the_archive(presenter, completed, past):
    shown = presenter.present(completed, NOW + 86_400_000 + past)
    assert shown["downloadUrl"] is shown["expiresAt"] is None


def test_a_waiting_retry_tells_why_and_how_often_still(presenter, job):
    failure = Failure(code="NETWORK_ERROR", message="The connection broke", retryable=True)
    waiting = dataclasses.replace(job, failure=failure, retry_at=NOW + 2_000)
    shown = presenter.present(waiting)
    assert shown["errorCode"] == "NETWORK_ERROR"
    assert (shown["retryable"], shown["retriesRemaining"]) == (True, 3)
    assert shown["retryAt"] == iso(NOW + 2_000)


@pytest.mark.parametrize(("ms", "text"), [(0, "1970-01-01T00:00:00.000Z"), (None, None)])
def test_times_are_iso_8601_with_milliseconds(ms, text):
    assert iso(ms) == text
