"""Downloads of a finished archive by its presigned link, with interruptions."""

from __future__ import annotations

import random
import shutil
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.support.archives import RecordingControl, make_request
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
        make_request([1, 2], bucket=buckets.archives, file_name=NAME),
        source=buckets.source(), storage=buckets.storage, control=RecordingControl(),
    )  # fmt: skip
    url = buckets.storage.presign_get(
        artifact.bucket, artifact.key,
        filename=artifact.name, content_type=artifact.content_type, expires_in=300,
    )  # fmt: skip
    return url, buckets.read(artifact.key), artifact


def fetch(url: str, **headers: str) -> Any:
    request = urllib.request.Request(
        url, headers={k.replace("_", "-"): v for k, v in headers.items()}
    )
    return urllib.request.urlopen(request, timeout=20)


def test_a_link_sends_name_type_size_and_a_strong_etag(finished: Any) -> None:
    url, archive, artifact = finished
    with fetch(url) as response:
        assert response.headers["Content-Type"] == "application/zip"
        assert response.headers["ETag"] == artifact.etag
        assert response.headers["ETag"].startswith('"')
        assert response.headers["Accept-Ranges"] == "bytes"
        assert int(response.headers["Content-Length"]) == len(archive)
        disposition = response.headers["Content-Disposition"]
    assert disposition.startswith("attachment; filename=")
    assert "filename*=UTF-8''%C3%9Cbersicht%20_2026_%20%C2%A7%20%E7%A9%BA.zip" in disposition


def test_a_link_supports_ranges_and_if_range(finished: Any) -> None:
    url, archive, artifact = finished
    with fetch(url, Range="bytes=1000-1999", If_Range=artifact.etag) as response:
        assert response.status == 206
        assert response.headers["Content-Range"] == f"bytes 1000-1999/{len(archive)}"
        assert response.read() == archive[1000:2000]
    with fetch(url, Range="bytes=-10") as response:
        assert response.read() == archive[-10:]


def test_resuming_another_version_returns_the_whole_file(finished: Any) -> None:
    url, archive, _ = finished
    with fetch(url, Range="bytes=1000-", If_Range='"another"') as response:
        body = response.read()
        assert (response.status, len(body)) in [(200, len(archive)), (206, len(archive) - 1000)]


def test_a_link_returns_the_same_bytes_after_the_files_changed(
    finished: Any, module_buckets: Any
) -> None:
    url, archive, artifact = finished
    module_buckets.put(2, b"newer", name="small.txt")
    rebuilt = build(
        make_request([1, 2], bucket=module_buckets.archives, file_name=NAME),
        source=module_buckets.source(), storage=module_buckets.storage, control=RecordingControl(),
    )  # fmt: skip
    assert rebuilt.key != artifact.key
    assert rebuilt.etag != artifact.etag
    with fetch(url, Range="bytes=1000-", If_Range=artifact.etag) as response:
        assert response.status == 206
        assert response.read() == archive[1000:]


def test_curl_resumes_a_download(finished: Any, tmp_path: Path) -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("curl is not installed on this machine")
    url, archive, _ = finished
    target = tmp_path / "archive.zip"
    target.write_bytes(archive[: 5 * MIB + 7])
    subprocess.run([curl, "-sSf", "-C", "-", "-o", target, url], check=True, timeout=60)
    assert target.read_bytes() == archive


def test_aria2_downloads_with_several_connections(finished: Any, tmp_path: Path) -> None:
    aria2 = shutil.which("aria2c")
    if aria2 is None:
        pytest.skip("aria2c is not installed on this machine")
    url, archive, _ = finished
    command = [aria2, "-q", "-x4", "-s4", "-k1M", "-d", tmp_path, "-o", "archive.zip", url]
    subprocess.run(command, check=True, timeout=60)
    assert (tmp_path / "archive.zip").read_bytes() == archive


def test_a_modified_link_is_rejected(finished: Any) -> None:
    url, _, artifact = finished
    with pytest.raises(urllib.error.HTTPError) as rejection:
        fetch(url.replace(artifact.key, artifact.key + "x"))
    assert rejection.value.code == 403
    rejection.value.close()
