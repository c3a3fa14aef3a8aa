"""Archives built from and into a real S3 server."""

from __future__ import annotations

import json
import random
import threading
import time
from typing import Any

import pytest

from common.errors import CancelRequested, DownloadTimeout, FileNotFound, FileTooLarge
from common.jobs.model import OnMissing
from tests.support.archives import RecordingControl, contents, make_request
from worker.archive import build

MIB = 1024 * 1024


def test_an_archive_contains_every_file_under_its_name(buckets: Any) -> None:
    big = random.Random(1).randbytes(20 * MIB + 17)
    buckets.put(1, b"hello", name="r%C3%A9sum%C3%A9.txt")
    buckets.put(2, big, name="big.bin")
    buckets.put(3, b"")
    control = RecordingControl()

    artifact = build(
        make_request([1, 2, 3], bucket=buckets.archives, file_name="my files"),
        source=buckets.source(),
        storage=buckets.storage,
        control=control,
    )

    archive = buckets.read(artifact.key)
    assert contents(archive) == {"résumé.txt": b"hello", "big.bin": big, "3": b""}
    assert artifact.name == "my files.zip"
    assert artifact.size == len(archive)
    assert (control.files, control.total, control.done) == (3, len(big) + 5, len(big) + 5)
    assert {report["state"] for report in control.reports.values()} == {"done"}
    assert buckets.unfinished() == []


def test_a_missing_file_fails_the_job(buckets: Any) -> None:
    buckets.put(1, b"one")
    control = RecordingControl()

    with pytest.raises(FileNotFound):
        build(
            make_request([1, 404], bucket=buckets.archives),
            source=buckets.source(), storage=buckets.storage, control=control,
        )  # fmt: skip

    assert control.reports[404]["state"] == "missing"
    assert control.reports[404]["error_code"] == "FILE_NOT_FOUND"


def test_skipped_files_are_listed_in_the_manifest(buckets: Any) -> None:
    buckets.put(1, b"one", name="a.txt")

    artifact = build(
        make_request([1, 404], bucket=buckets.archives, on_missing=OnMissing.SKIP),
        source=buckets.source(), storage=buckets.storage, control=RecordingControl(),
    )  # fmt: skip

    manifest = json.loads(contents(buckets.read(artifact.key))["MANIFEST.json"])
    assert manifest == {
        "files": [{"fileId": 1, "name": "a.txt", "size": 3, "checksum": "crc32:7a6c86f1"}],
        "missing": [
            {"fileId": 404, "code": "FILE_NOT_FOUND", "message": "File 404 does not exist"}
        ],
    }
    assert artifact.missing_files == 1


def test_a_job_fails_if_all_files_are_skipped(buckets: Any) -> None:
    with pytest.raises(FileNotFound):
        build(
            make_request([404], bucket=buckets.archives, on_missing=OnMissing.SKIP),
            source=buckets.source(), storage=buckets.storage, control=RecordingControl(),
        )  # fmt: skip


def test_a_single_file_is_delivered_directly_if_allowed(buckets: Any) -> None:
    buckets.put(7, b"content", name="seven.txt")

    artifact = build(
        make_request([7], bucket=buckets.archives, direct_single_file=True),
        source=buckets.source(), storage=buckets.storage, control=RecordingControl(),
    )  # fmt: skip

    assert (artifact.bucket, artifact.key, artifact.name) == (buckets.sources, "7", "seven.txt")
    assert buckets.read(artifact.key, artifact.bucket) == b"content"


def test_files_over_the_size_limit_are_rejected_before_anything_is_read(buckets: Any) -> None:
    buckets.put(1, b"12345")

    with pytest.raises(FileTooLarge):
        build(
            make_request([1], bucket=buckets.archives, max_bytes=4),
            source=buckets.source(), storage=buckets.storage, control=RecordingControl(),
        )  # fmt: skip


@pytest.mark.parametrize("error", [CancelRequested, DownloadTimeout])
def test_a_build_stops_within_a_second_and_leaves_nothing_behind(
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

    cancelled_at: list[float] = []

    def cancel() -> None:
        hanging.wait(10)
        control.stop_with = error()
        cancelled_at.append(time.monotonic())

    threading.Thread(target=cancel).start()
    with pytest.raises(error):
        build(
            make_request([1], bucket=buckets.archives),
            source=source, storage=buckets.storage, control=control,
        )  # fmt: skip

    assert time.monotonic() - cancelled_at[0] < 1
    assert buckets.unfinished() == []


def test_a_source_below_the_minimum_rate_ends_the_attempt(buckets: Any) -> None:
    buckets.put(1, b"x" * 1000)
    source: Any = buckets.source()

    def trickle(entry: Any, view: Any, *, cancellation: Any, progress: Any, **rest: Any) -> None:
        for _ in range(600):
            progress(1)
            cancellation.wait(0.1)

    source.read_into = trickle
    started = time.monotonic()
    with pytest.raises(DownloadTimeout):
        build(
            make_request([1], bucket=buckets.archives, min_rate=1000, rate_window=0.5),
            source=source, storage=buckets.storage, control=RecordingControl(),
        )  # fmt: skip
    assert time.monotonic() - started < 5
    assert buckets.unfinished() == []


def test_files_are_put_into_folders_and_copied_to_several_places(buckets: Any) -> None:
    big = random.Random(2).randbytes(20 * MIB + 17)
    buckets.put(1, b"hello", name="hello.txt")
    buckets.put(2, big, name="big.bin")
    request = make_request(
        [2, 1, 2],
        paths=("videos/", "../notes/r\u00e9sum\u00e9.txt", "copies/again.bin"),
        manifest=True,
        bucket=buckets.archives,
    )

    def run() -> tuple[Any, RecordingControl]:
        control = RecordingControl()
        artifact = build(request, source=buckets.source(), storage=buckets.storage, control=control)
        return artifact, control

    artifact, control = run()
    archive = buckets.read(artifact.key)
    members = contents(archive)
    manifest = json.loads(members.pop("MANIFEST.json"))
    assert members == {"videos/big.bin": big, "notes/résumé.txt": b"hello", "copies/again.bin": big}
    assert [file["name"] for file in manifest["files"]] == list(members)
    assert (control.files, control.done) == (3, 2 * len(big) + 5)
    assert buckets.unfinished() == []

    again, _ = run()
    assert (again.key, again.etag) == (artifact.key, artifact.etag)
    buckets.storage.delete_objects(buckets.archives, [artifact.key])
    rebuilt, _ = run()
    assert (rebuilt.key, rebuilt.etag) == (artifact.key, artifact.etag)
    assert buckets.read(rebuilt.key) == archive
