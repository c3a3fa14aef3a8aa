"""The deadline of an attempt: the next one continues its uploads without using up an attempt."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from redis import Redis

from common.authorization import AllFiles
from common.errors import DeadlineExceeded, DownloadTimeout, ResumableDeadline
from common.job_store import keys
from common.jobs.model import FileGrant, JobSpec
from common.object_storage import StorageProfile
from common.settings import Settings
from common.sources.s3 import S3Source
from tests.support.archives import RecordingControl
from tests.support.small_catalog import SMALL, SmallCatalog
from worker.archive_builder import ArchiveBuilder
from worker.attempt.control import AttemptControl

JOB = keys.new_job_id("ann")

pytestmark = pytest.mark.usefixtures("narrow")


class Attempt:
    """One attempt after another at the job of a small catalog."""

    def __init__(
        self,
        redis: Redis,
        monkeypatch: pytest.MonkeyPatch,
        *,
        age: float = 0.0,
        waited: float = 0.0,
    ) -> None:
        """``age``: seconds since the first attempt, before which the job ``waited`` seconds."""
        monkeypatch.setattr("worker.archive_builder.PartSizes", lambda **_: SMALL)
        self.catalog = SmallCatalog([3000, 50, 3000, 70])
        storage: Any = self.catalog.storage
        source = S3Source(storage, bucket="files", key_template="{file_id}")
        settings = Settings.from_env({"MANAGE_BUCKET": "false"})
        services = SimpleNamespace(
            settings=settings,
            storage=storage,
            redis=redis,
            queries=None,
            source=source,
            authorizer=AllFiles(),
        )
        self.archives = ArchiveBuilder(cast("Any", services))
        self.archives._profile = StorageProfile()
        spec = JobSpec(file_ids=tuple(self.catalog.files))
        started_at = int((time.time() - age) * 1000)
        created_at = started_at - int(waited * 1000)
        self.claim = SimpleNamespace(
            job=SimpleNamespace(id=JOB, created_at=created_at, started_at=started_at),
            lease=SimpleNamespace(fencing_token=1),
            spec=spec,
            grant=FileGrant(),
        )

    def run(self, *, parts: int | None, error: type[Exception] = DeadlineExceeded) -> Any:
        """Run an attempt that reaches its deadline after so many parts."""
        control = RecordingControl()
        storage = self.catalog.storage
        storage.restart()

        def stop(name: str) -> None:
            transfers = [c for c in storage.calls if c in ("upload_part", "upload_part_copy")]
            if parts is not None and name.startswith("upload_part") and len(transfers) > parts:
                control.stop_with = error()
                raise error

        storage.hook = stop
        try:
            return self.archives.build(cast("Any", self.claim), control)
        finally:
            storage.hook = lambda _: None


def test_an_attempt_with_progress_is_continued_at_the_deadline(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = Attempt(redis, monkeypatch)
    for parts in (4, 4):
        with pytest.raises(ResumableDeadline):
            attempt.run(parts=parts)
    artifact = attempt.run(parts=None)
    assert attempt.catalog.archive(artifact).startswith(b"PK")
    assert attempt.catalog.storage.open_uploads == {}


def test_another_job_does_not_begin_the_archive_between_two_attempts(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = Attempt(redis, monkeypatch)
    with pytest.raises(ResumableDeadline):
        attempt.run(parts=4)
    (upload,) = attempt.catalog.storage.open_uploads
    attempt.claim.job.id = keys.new_job_id("bob")
    with pytest.raises(ResumableDeadline):
        attempt.archives.build(cast("Any", attempt.claim), AttemptControl(deadline=0.5))
    assert list(attempt.catalog.storage.open_uploads) == [upload]
    attempt.claim.job.id = JOB
    assert attempt.run(parts=None).size


def test_an_attempt_without_progress_fails_at_the_deadline(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = Attempt(redis, monkeypatch)
    with pytest.raises(ResumableDeadline):
        attempt.run(parts=4)
    with pytest.raises(DeadlineExceeded):
        attempt.run(parts=0)


def test_a_source_that_is_too_slow_uses_up_an_attempt(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DownloadTimeout):
        Attempt(redis, monkeypatch).run(parts=4, error=DownloadTimeout)


def test_a_job_is_not_continued_forever(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DeadlineExceeded):
        Attempt(redis, monkeypatch, age=100_000).run(parts=4)


def test_a_job_that_waited_for_days_is_continued(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    # For the end of a pause, or until it was restarted.
    with pytest.raises(ResumableDeadline):
        Attempt(redis, monkeypatch, waited=100_000).run(parts=4)


class StreamedAttempt(Attempt):
    """An attempt at an archive that has to be streamed, in 64 parts of 100 bytes."""

    def __init__(self, redis: Redis, monkeypatch: pytest.MonkeyPatch, *, age: float = 0.0) -> None:
        super().__init__(redis, monkeypatch, age=age)
        monkeypatch.setattr("worker.archive.streaming.part_size", lambda *_, **__: 100)
        source: Any = self.archives._source
        describe = source.describe
        source.describe = lambda *args, **options: [
            replace(file, ranged=False, location=None) for file in describe(*args, **options)
        ]

    def run_slowly(self, *, deadline: float, stop_after: int = 1000) -> Any:
        """Take 0.02 s for each part, and much longer for those after ``stop_after``."""
        storage, stopped = self.catalog.storage, threading.Event()

        def wait(name: str) -> None:
            if name == "upload_part":
                stopped.wait(0.02 if storage.calls.count(name) <= stop_after else 1)

        storage.hook = wait
        try:
            return self.archives.build(cast("Any", self.claim), AttemptControl(deadline=deadline))
        finally:
            stopped.set()


def test_a_streamed_archive_may_take_longer_while_parts_are_uploaded(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = StreamedAttempt(redis, monkeypatch)
    started = time.monotonic()
    artifact = attempt.run_slowly(deadline=0.4)
    assert time.monotonic() - started > 1
    attempt.catalog.assert_correct(artifact)


def test_a_streamed_archive_without_progress_ends_at_the_deadline(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = StreamedAttempt(redis, monkeypatch)
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        attempt.run_slowly(deadline=0.4, stop_after=30)
    assert time.monotonic() - started < 6
    assert attempt.catalog.storage.open_uploads == {}


def test_a_streamed_archive_is_not_continued_forever(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DeadlineExceeded):
        StreamedAttempt(redis, monkeypatch, age=100_000).run_slowly(deadline=0.4)
