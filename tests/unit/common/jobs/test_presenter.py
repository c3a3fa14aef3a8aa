"""The job as clients see it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TypeVar

import pytest

from common.jobs.model import Failure, Job
from common.jobs.presenter import JobPresenter, iso
from common.jobs.transitions import JobState
from tests.unit.api.conftest import ARTIFACT, FakeStorage

NOW = 1_700_000_000_123
T = TypeVar("T")


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


def presenter_at(now: int) -> JobPresenter:
    return JobPresenter(FakeStorage(), link_ttl=3600, clock=lambda: now)


@pytest.fixture
def presenter() -> JobPresenter:
    return presenter_at(NOW)


@pytest.fixture
def completed(job: Job) -> Job:
    return dataclasses.replace(
        job,
        status=JobState.COMPLETED,
        artifact=ARTIFACT,
        seconds_remaining=None,
        completed_at=NOW,
        expires_at=NOW + 86_400_000,
    )


def test_a_running_job_shows_its_progress_and_the_estimated_end(
    presenter: JobPresenter, job: Job
) -> None:
    shown = presenter.present(job)
    assert shown["status"] == "processing"
    assert (shown["processedBytes"], shown["totalBytes"]) == (400, 1000)
    assert shown["estimatedSecondsRemaining"] == 7
    assert shown["estimatedCompletion"] == iso(NOW + 7_400)
    assert shown["metadata"] == {"a": []}
    assert shown["createdAt"] == "2023-11-14T22:13:15.123Z"


@pytest.mark.parametrize("seconds", [1e12, float("inf"), float("nan"), -1.0])
def test_an_estimate_that_says_nothing_is_unknown(
    presenter: JobPresenter, job: Job, seconds: float
) -> None:
    shown = presenter.present(dataclasses.replace(job, seconds_remaining=seconds))
    assert (shown["estimatedSecondsRemaining"], shown["estimatedCompletion"]) == (None, None)


def test_unknown_members_are_null(presenter: JobPresenter, job: Job) -> None:
    shown = presenter.present(job)
    for member in ("queuePosition", "downloadUrl", "expiresAt", "fileName", "error", "retryAt"):
        assert shown[member] is None


def test_a_completed_job_has_a_newly_signed_link(presenter: JobPresenter, completed: Job) -> None:
    shown = presenter.present(completed)
    assert shown["downloadUrl"].endswith("name=files.zip&expires=3600")
    assert shown["expiresAt"] == iso(NOW + 3_600_000)
    assert (shown["fileSize"], shown["checksum"]) == (1234, "crc32:0badcafe")


def test_a_completed_job_says_until_when_its_archive_is_available(
    presenter: JobPresenter, job: Job, completed: Job
) -> None:
    assert presenter.present(job)["availableUntil"] is None
    assert presenter.present(completed)["availableUntil"] == iso(NOW + 86_400_000)


def test_a_job_counts_the_files_that_its_archive_lacks(
    presenter: JobPresenter, job: Job, completed: Job
) -> None:
    incomplete = dataclasses.replace(ARTIFACT, missing_files=2)
    assert presenter.present(job)["missingFiles"] == 0
    assert presenter.present(completed)["missingFiles"] == 0
    for state in (JobState.COMPLETED, JobState.EXPIRED):
        shown = presenter.present(dataclasses.replace(completed, artifact=incomplete, status=state))
        assert shown["missingFiles"] == 2


def test_a_link_expires_with_the_session_that_it_is_signed_with(completed: Job) -> None:
    presenter = JobPresenter(
        FakeStorage(), link_ttl=3_600, clock=lambda: NOW, links_expire_at=lambda: NOW + 600_000
    )
    shown = presenter.present(completed)
    assert shown["downloadUrl"].endswith("expires=600")
    assert shown["expiresAt"] == iso(NOW + 600_000)


def test_a_link_expires_with_the_archive(completed: Job) -> None:
    shown = presenter_at(NOW + 86_400_000 - 60_000).present(completed)
    assert shown["downloadUrl"].endswith("expires=60")
    assert shown["expiresAt"] == iso(NOW + 86_400_000)


@pytest.mark.parametrize("past", [0, 1])
def test_there_is_no_link_after_the_archive_has_expired(completed: Job, past: int) -> None:
    shown = presenter_at(NOW + 86_400_000 + past).present(completed)
    assert shown["downloadUrl"] is shown["expiresAt"] is None


def test_the_etag_of_a_job_without_a_link_is_its_version(
    presenter: JobPresenter, job: Job, completed: Job
) -> None:
    assert presenter.etag(job) == '"3"'
    assert presenter_at(NOW + 86_400_000).etag(completed) == '"3"'


def constant(value: T) -> Callable[[], T]:
    return lambda: value


@pytest.mark.parametrize("link_ttl", [1, 2, 60, 3600, 86_400, 604_800])
def test_an_unchanged_etag_means_that_the_link_still_works(completed: Job, link_ttl: int) -> None:
    """RFC 9110, 15.4.5: after 304, the client uses the response that it has stored."""
    stored_at, etag, expires_at = 0, "", 0
    for now in range(NOW, NOW + 86_400_000, max(1000, link_ttl * 100)):
        presenter = JobPresenter(FakeStorage(), link_ttl=link_ttl, clock=constant(now))
        if presenter.etag(completed) != etag:
            assert now == NOW or now - stored_at <= link_ttl * 1000
            stored_at, etag = now, presenter.etag(completed)
            expires_at = now + min(link_ttl * 1000, NOW + 86_400_000 - now)
        assert now < expires_at


def test_the_etag_changes_with_the_session_that_links_are_signed_with(completed: Job) -> None:
    tags = {
        JobPresenter(
            FakeStorage(), link_ttl=3600, clock=lambda: NOW, links_expire_at=constant(end)
        ).etag(completed)
        for end in (NOW + 60_000, NOW + 120_000, NOW, None)
    }
    assert len(tags) == 4
    assert '"3"' in tags  # The session has ended: there is no link.


def test_a_waiting_retry_shows_the_error_and_the_attempts_left(
    presenter: JobPresenter, job: Job
) -> None:
    failure = Failure(code="NETWORK_ERROR", message="The connection broke", retryable=True)
    waiting = dataclasses.replace(job, failure=failure, retry_at=NOW + 2_000)
    shown = presenter.present(waiting)
    assert shown["errorCode"] == "NETWORK_ERROR"
    assert (shown["retryable"], shown["retriesRemaining"]) == (True, 3)
    assert shown["retryAt"] == iso(NOW + 2_000)


@pytest.mark.parametrize(("ms", "text"), [(0, "1970-01-01T00:00:00.000Z"), (None, None)])
def test_times_are_iso_8601_with_milliseconds(ms: int | None, text: str | None) -> None:
    assert iso(ms) == text
