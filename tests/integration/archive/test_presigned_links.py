"""Downloading a finished archive by its signed link, with interruptions."""

from __future__ import annotations

import random
import shutil
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.support.archives import RecordingControl, a_request
from worker.archive import build

MIB = 1024 * 1024
NAME = 'Übersicht "2026" § 空.zip'


@pytest.fixture(scope="module")
def finished(module_buckets: Any) -> Any:
    buckets = module_buckets
    rng = random.Random(2)
    buckets.put(1, rng.randbytes(14 * MIB), name="large.bin")
    buckets.put(2, b"small", name="small.txt")
    artifact = build(
        a_request([1, 2], bucket=buckets.archives, file_name=NAME),
        source=buckets.source(), storage=buckets.store, control=RecordingControl(),
    )  # fmt: skip
    url = buckets.store.presign_get(
        artifact.bucket, artifact.key,
        filename=artifact.name, content_type=artifact.content_type, expires_in=300,
    )  # fmt: skip
    return url, buckets.read(artifact.key), artifact


def fetch(url: str, **headers: str) -> Any:
    request = urllib.request.Request(
        url, headers={k.replace("_", "-"): v for k, v in headers.items()}
    )
    return urllib.request.urlopen(request, timeout=20)


def test_the_link_tells_name_type_size_and_a_strong_etag(finished: Any) -> None:
    url, archive, artifact = finished
    with fetch(url) as answer:
        assert answer.headers["Content-Type"] == "application/zip"
        assert answer.headers["ETag"] == artifact.etag
        assert answer.headers["ETag"].startswith('"')
        assert answer.headers["Accept-Ranges"] == "bytes"
        assert int(answer.headers["Content-Length"]) == len(archive)
        disposition = answer.headers["Content-Disposition"]
    assert disposition.startswith("attachment; filename=")
    assert "filename*=UTF-8''%C3%9Cbersicht%20_2026_%20%C2%A7%20%E7%A9%BA.zip" in disposition


def test_a_range_can_be_asked_for_and_resumed_by_the_etag(finished: Any) -> None:
    url, archive, artifact = finished
    with fetch(url, Range="bytes=1000-1999", If_Range=artifact.etag) as answer:
        assert answer.status == 206
        assert answer.headers["Content-Range"] == f"bytes 1000-1999/{len(archive)}"
        assert answer.read() == archive[1000:2000]
    with fetch(url, Range="bytes=-10") as answer:
        assert answer.read() == archive[-10:]


def test_a_resume_of_another_version_gives_the_whole_file(finished: Any) -> None:
    url, archive, _ = finished
    with fetch(url, Range="bytes=1000-", If_Range='"another"') as answer:
        body = answer.read()
        assert (answer.status, len(body)) in [(200, len(archive)), (206, len(archive) - 1000)]


def test_a_link_gives_the_same_bytes_after_the_files_changed(
    finished: Any, module_buckets: Any
) -> None:
    url, archive, artifact = finished
    module_buckets.put(2, b"newer", name="small.txt")
    newer = build(
        a_request([1, 2], bucket=module_buckets.archives, file_name=NAME),
        source=module_buckets.source(), storage=module_buckets.store, control=RecordingControl(),
    )  # fmt: skip
    assert newer.key != artifact.key
    assert newer.etag != artifact.etag
    with fetch(url, Range="bytes=1000-", If_Range=artifact.etag) as answer:
        assert answer.status == 206
        assert answer.read() == archive[1000:]


def test_curl_goes_on_where_it_stopped(finished: Any, tmp_path: Path) -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("curl is not installed on this machine")
    url, archive, _ = finished
    target = tmp_path / "archive.zip"
    target.write_bytes(archive[: 5 * MIB + 7])
    subprocess.run([curl, "-sSf", "-C", "-", "-o", target, url], check=True, timeout=60)
    assert target.read_bytes() == archive


def test_aria2_fetches_by_several_connections(finished: Any, tmp_path: Path) -> None:
    aria2 = shutil.which("aria2c")
    if aria2 is None:
        pytest.skip("aria2c is not installed on this machine")
    url, archive, _ = finished
    command = [aria2, "-q", "-x4", "-s4", "-k1M", "-d", tmp_path, "-o", "archive.zip", url]
    subprocess.run(command, check=True, timeout=60)
    assert (tmp_path / "archive.zip").read_bytes() == archive


def test_a_link_that_was_changed_opens_nothing(finished: Any) -> None:
    url, _, artifact = finished
    with pytest.raises(urllib.error.HTTPError) as refusal:
        fetch(url.replace(artifact.key, artifact.key + "x"))
    assert refusal.value.code == 403
    refusal.value.close()
