"""Two jobs with the same files build the same archive, but each has its own upload."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from common.errors import CancelRequested, DeadlineExceeded, StorageError
from tests.support.crashes import Crash, MemoryCheckpoint
from tests.support.small_catalog import SmallCatalog

pytestmark = pytest.mark.usefixtures("narrow")


class TwoJobs(SmallCatalog):
    """A catalog with two jobs, of which the first was interrupted while it uploaded parts."""

    def __init__(self) -> None:
        super().__init__([3000, 50, 3000, 70])
        self.first, self.second = self.checkpoint, MemoryCheckpoint(self.storage)
        self.interrupt(self.first)
        (self.first_upload,) = self.storage.open_uploads

    def interrupt(self, checkpoint: MemoryCheckpoint) -> None:
        self.storage.restart(crash_at=16)
        with pytest.raises(Crash):
            self.run_job(checkpoint)
        self.storage.restart()

    def run_job(self, checkpoint: MemoryCheckpoint) -> bytes:
        self.checkpoint = checkpoint
        return self.archive(self.run())

    def fail(self, operation: str, error: Exception) -> None:
        """Let an operation fail from now on."""

        def fail(name: str) -> None:
            if name == operation:
                raise error

        self.storage.hook = fail


def completes(jobs: TwoJobs) -> None:
    jobs.interrupt(jobs.second)
    jobs.run_job(jobs.second)


def is_cancelled(jobs: TwoJobs) -> None:
    jobs.fail("upload_part_copy", CancelRequested())
    with pytest.raises(CancelRequested):
        jobs.run_job(jobs.second)
    jobs.storage.hook = lambda _: None


def needs_a_changed_file(jobs: TwoJobs) -> None:
    jobs.interrupt(jobs.second)
    jobs.storage.add_object("files", "1", b"x", metadata={"filename": "1.bin"})
    jobs.run_job(jobs.second)


@pytest.mark.parametrize("ends", [completes, is_cancelled, needs_a_changed_file])
def test_a_job_that_ends_keeps_the_upload_that_another_job_resumes(
    ends: Callable[[TwoJobs], None],
) -> None:
    jobs = TwoJobs()
    ends(jobs)
    assert list(jobs.storage.open_uploads) == [jobs.first_upload]
    assert jobs.second.records == []
    jobs.run_job(jobs.first)
    assert jobs.storage.open_uploads == {}
    assert jobs.first.records == []


def test_a_job_whose_archive_was_found_ends_although_its_upload_cannot_be_deleted() -> None:
    jobs = TwoJobs()
    archive = jobs.run_job(jobs.second)
    jobs.fail("abort_multipart_upload", StorageError())
    assert jobs.run_job(jobs.first) == archive
    # The cleanup deletes the upload of an ended job that its log lists.
    assert jobs.first.records


def test_a_job_whose_files_changed_starts_again_although_its_upload_cannot_be_deleted() -> None:
    jobs = TwoJobs()
    jobs.storage.add_object("files", "1", b"x", metadata={"filename": "1.bin"})
    jobs.files[1] = b"x"
    jobs.fail("abort_multipart_upload", StorageError())
    jobs.checkpoint = jobs.first
    artifact = jobs.run()
    jobs.storage.open_uploads.clear()
    jobs.assert_correct(artifact)


def test_deleting_the_upload_of_changed_files_ends_at_the_deadline() -> None:
    jobs = TwoJobs()
    jobs.storage.add_object("files", "1", b"x", metadata={"filename": "1.bin"})
    responds = threading.Event()

    def reach_deadline(name: str) -> None:
        if name == "abort_multipart_upload":
            jobs.control.stop_with = DeadlineExceeded()
            responds.wait(5)

    jobs.storage.hook = reach_deadline
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        jobs.run_job(jobs.first)
    responds.set()
    assert time.monotonic() - started < 3
