"""Streamed archives: parts out of order, headers written later, limited memory."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.errors import CancelRequested, FileTooLarge, NetworkError
from common.jobs.model import OnMissing
from common.object_storage import NoSuchUpload
from common.sources.s3 import S3Source
from tests.support.archives import RecordingControl, contents, make_request
from tests.support.fake_s3 import FakeS3
from worker.archive import BuildOptions, build
from worker.archive.planning.layout import PartSizes

PART = 500


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    def part_size(number: int, *, equal_parts: bool) -> int:
        return PART if equal_parts or number < 4 else 2 * PART

    monkeypatch.setattr("worker.archive.streaming.part_size", part_size)


class Unsized(S3Source):
    """A source that gives neither sizes nor versions."""

    def describe(self, *args: Any, **kwargs: Any) -> Any:
        return [
            replace(entry, size=None, etag=None, ranged=False, location=None)
            if hasattr(entry, "size")
            else entry
            for entry in super().describe(*args, **kwargs)
        ]

    @contextmanager
    def open(self, entry: Any, *, cancellation: Any, progress: Any) -> Iterator[Any]:
        objects = cast("Any", self._storage).objects
        size = objects["files", str(entry.file_id)]
        with super().open(
            replace(entry, size=len(size.data)), cancellation=cancellation, progress=progress
        ) as fill:
            yield fill


def storage_with(files: dict[int, bytes], *, server: type[FakeS3] = FakeS3, **rules: Any) -> FakeS3:
    storage = server(min_part_size=PART, **rules)
    for file_id, data in files.items():
        storage.add_object("files", str(file_id), data, metadata={"filename": f"{file_id}.bin"})
    return storage


def run(storage: FakeS3, ids: list[int], control: Any = None, **request: Any) -> dict[str, bytes]:
    """Build an archive of files of unknown size and return its contents."""
    artifact = build(
        make_request(ids, **request),
        source=Unsized(storage, bucket="files", key_template="{file_id}"),
        storage=storage,
        control=control or RecordingControl(),
        options=BuildOptions(part_sizes=PartSizes(equal_parts=storage.equal_parts)),
    )
    assert storage.open_uploads == {}
    data = storage.objects["archives", artifact.key].data
    assert artifact.size == len(data)
    return contents(data)


@settings(
    max_examples=200, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(
    st.lists(
        st.one_of(st.integers(0, 50), st.integers(400, 600), st.integers(0, 3000)), max_size=9
    ),
    st.booleans(),
)
def test_any_files_of_unknown_size_become_a_correct_archive(
    sizes: list[int], equal_parts: bool
) -> None:
    rng = random.Random(1)
    files = {i: rng.randbytes(size) for i, size in enumerate([*sizes, 5])}
    storage, control = storage_with(files, equal_parts=equal_parts), RecordingControl()
    assert run(storage, list(files), control) == {f"{i}.bin": data for i, data in files.items()}
    assert control.done == sum(map(len, files.values()))


def test_progress_is_reported_when_bytes_arrive() -> None:
    class Trickling(Unsized):
        def read_into(self, *args: Any, start: int, **rest: Any) -> None:
            entry, view = args
            for at in range(0, len(view), 10):
                super().read_into(entry, view[at : at + 10], start=start + at, **rest)

    reported = []

    class Recording(RecordingControl):
        def advance(self, bytes: int) -> None:
            reported.append(bytes)

    storage = storage_with({1: b"x" * 195})
    build(
        make_request([1]),
        source=Trickling(storage, bucket="files", key_template="{file_id}"),
        storage=storage,
        control=Recording(),
    )
    assert reported == [10] * 19 + [5]


def test_files_that_need_too_many_parts_are_rejected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("worker.archive.streaming.MAX_PARTS", 3)
    storage = storage_with({1: b"x" * 1900})
    with pytest.raises(FileTooLarge):
        run(storage, [1])
    assert storage.open_uploads == {}


def test_the_manifest_of_a_streamed_archive_contains_the_sizes() -> None:
    storage = storage_with({1: b"x" * 1300})
    members = run(storage, [1, 2], on_missing=OnMissing.SKIP)
    assert b'"size": 1300' in members["MANIFEST.json"]
    assert b"FILE_NOT_FOUND" in members["MANIFEST.json"]


def test_a_cancelled_job_aborts_its_upload() -> None:
    storage = storage_with({1: b"x" * 5000})
    control = RecordingControl()

    def cancel(name: str) -> None:
        if name == "upload_part":
            control.stop_with = CancelRequested()
            raise CancelRequested

    storage.hook = cancel
    with pytest.raises(CancelRequested):
        run(storage, [1], control)
    assert storage.open_uploads == {}


def test_a_cleanup_that_fails_does_not_hide_why_the_job_ended() -> None:
    storage = storage_with({1: random.Random(1).randbytes(5000)})
    control = RecordingControl()

    def fail(name: str) -> None:
        if name == "upload_part":
            control.stop_with = CancelRequested()
            time.sleep(0.3)
        elif name == "abort_multipart_upload":
            raise NetworkError

    storage.hook = fail
    with pytest.raises(CancelRequested):
        run(storage, [1], control)


class LosesResponses(FakeS3):
    """A storage whose first response to a completion is lost, so that the request is repeated."""

    def complete_multipart_upload(self, *args: Any, **options: Any) -> str:
        super().complete_multipart_upload(*args, **options)
        return super().complete_multipart_upload(*args, **options)


def test_a_lost_response_to_the_completion_does_not_cost_the_archive() -> None:
    storage = storage_with({1: b"x" * 5000}, server=LosesResponses)
    assert run(storage, [1]) == {"1.bin": b"x" * 5000}


def test_an_upload_that_disappears_before_its_completion_fails_the_attempt() -> None:
    storage = storage_with({1: b"x" * 5000})

    def abort(name: str) -> None:
        if name == "complete_multipart_upload":
            storage.open_uploads.clear()

    storage.hook = abort
    with pytest.raises(NoSuchUpload):
        run(storage, [1])


def test_files_of_known_size_are_composed() -> None:
    storage = storage_with({1: b"x" * 5000, 2: b"y"})
    build(
        make_request([1, 2]),
        source=S3Source(storage, bucket="files", key_template="{file_id}"),
        storage=storage,
        control=RecordingControl(),
        options=BuildOptions(
            part_sizes=PartSizes(min_part_size=PART, write_size=600, copy_size=2000)
        ),
    )
    assert "upload_part_copy" in storage.calls
