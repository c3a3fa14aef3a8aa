"""Archives built from real S3 into real S3."""

from __future__ import annotations

import json
import random
import threading
import time
from typing import Any

import pytest

from common.errors import CancelRequested, DownloadTimeout, FileNotFound, FileTooLarge
from common.jobs.model import OnMissing
from tests.support.archives import RecordingControl, a_request, contents
from worker.archive import build

MIB = 1024 * 1024


def test_an_archive_holds_every_file_under_its_name(buckets: Any) -> None:
    big = random.Random(1).randbytes(20 * MIB + 17)
    buckets.put(1, b"hello", name="r%C3%A9sum%C3%A9.txt")
    buckets.put(2, big, name="big.bin")
    buckets.put(3, b"")
    control = RecordingControl()

    artifact = build(
        a_request([1, 2, 3], bucket=buckets.archives, file_name="my files"),
        source=buckets.source(),
        storage=buckets.store,
        control=control,
    )

    archive = buckets.read(artifact.key)
    assert contents(archive) == {"résumé.txt": b"hello", "big.bin": big, "3": b""}
    assert artifact.name == "my files.zip"
    assert artifact.size == len(archive)
    assert (control.files, control.total, control.done) == (3, len(big) + 5, len(big) + 5)
    assert {report["state"] for report in control.reports.values()} == {"done"}
    assert buckets.leftovers() == []


def test_a_missing_file_fails_the_job_unless_it_may_be_skipped(buckets: Any) -> None:
    buckets.put(1, b"one")
    control = RecordingControl()

    with pytest.raises(FileNotFound):
        build(
            a_request([1, 404], bucket=buckets.archives),
            source=buckets.source(), storage=buckets.store, control=control,
        )  # fmt: skip

    assert control.reports[404]["state"] == "missing"
    assert control.reports[404]["error_code"] == "FILE_NOT_FOUND"


def test_skipped_files_are_named_in_the_manifest(buckets: Any) -> None:
    buckets.put(1, b"one", name="a.txt")

    artifact = build(
        a_request([1, 404], bucket=buckets.archives, on_missing=OnMissing.SKIP),
        source=buckets.source(), storage=buckets.store, control=RecordingControl(),
    )  # fmt: skip

    manifest = json.loads(contents(buckets.read(artifact.key))["MANIFEST.json"])
    assert manifest == {
        "files": [{"fileId": 1, "name": "a.txt", "size": 3, "checksum": "crc32:7a6c86f1"}],
        "missing": [
            {"fileId": 404, "code": "FILE_NOT_FOUND", "message": "File 404 does not exist"}
        ],
    }
    assert artifact.missing_files == 1


def test_skipping_every_file_is_a_failure(buckets: Any) -> None:
    with pytest.raises(FileNotFound):
        build(
            a_request([404], bucket=buckets.archives, on_missing=OnMissing.SKIP),
            source=buckets.source(), storage=buckets.store, control=RecordingControl(),
        )  # fmt: skip


def test_one_single_file_is_delivered_as_itself_where_that_is_allowed(buckets: Any) -> None:
    buckets.put(7, b"content", name="seven.txt")

    artifact = build(
        a_request([7], bucket=buckets.archives, direct_single_file=True),
        source=buckets.source(), storage=buckets.store, control=RecordingControl(),
    )  # fmt: skip

    assert (artifact.bucket, artifact.key, artifact.name) == (buckets.sources, "7", "seven.txt")
    assert buckets.read(artifact.key, artifact.bucket) == b"content"


def test_files_beyond_the_allowed_size_are_refused_before_anything_is_read(buckets: Any) -> None:
    buckets.put(1, b"12345")

    with pytest.raises(FileTooLarge):
        build(
            a_request([1], bucket=buckets.archives, max_bytes=4),
            source=buckets.source(), storage=buckets.store, control=RecordingControl(),
        )  # fmt: skip


@pytest.mark.parametrize("error", [CancelRequested, DownloadTimeout])
def test_a_stop_is_obeyed_within_a_second_and_leaves_nothing(
    buckets: Any, error: type[Exception]
) -> None:
    buckets.put(1, b"x" * (12 * MIB))
    source = buckets.source()
    hanging = threading.Event()

    def hang(*_: Any, cancellation: Any, **__: Any) -> None:
        hanging.set()
        cancellation.wait(60)

    source.read_into = hang
    control = RecordingControl()

    asked_at: list[float] = []

    def cancel() -> None:
        hanging.wait(10)
        control.stop_with = error()
        asked_at.append(time.monotonic())

    threading.Thread(target=cancel).start()
    with pytest.raises(error):
        build(
            a_request([1], bucket=buckets.archives),
            source=source, storage=buckets.store, control=control,
        )  # fmt: skip

    assert time.monotonic() - asked_at[0] < 1
    assert buckets.leftovers() == []


def test_a_source_below_the_minimum_rate_ends_the_attempt(buckets: Any) -> None:
    buckets.put(1, b"x" * 1000)
    source = buckets.source()

    def trickle(entry: Any, view: Any, *, cancellation: Any, progress: Any, **_: Any) -> None:
        for _ in range(600):
            progress(1)
            cancellation.wait(0.1)

    source.read_into = trickle
    started = time.monotonic()
    with pytest.raises(DownloadTimeout):
        build(
            a_request([1], bucket=buckets.archives, min_rate=1000, rate_window=0.5),
            source=source, storage=buckets.store, control=RecordingControl(),
        )  # fmt: skip
    assert time.monotonic() - started < 5
    assert buckets.leftovers() == []
