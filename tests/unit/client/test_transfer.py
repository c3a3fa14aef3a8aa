"""Downloading an archive over connections that break, with signed URLs that expire."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from longhaul_client import ChecksumMismatch, Job, JobUnsuccessful, Longhaul, TransferFailed
from longhaul_client.transfer import MAX_FAILURES
from tests.support.client_fakes import JOB_ID, FakeClock, Stream, job_json

CONTENT = bytes(range(256)) * 1000
CHECKSUM = f"crc32:{zlib.crc32(CONTENT):08x}"


class Storage:
    """An API and an object storage. ``breaks`` are bytes after which a connection breaks."""

    def __init__(self, *breaks: int, content: bytes = CONTENT, ranges: bool = True) -> None:
        self.starts: list[int] = []
        self.content = content
        self.rejections = 0
        self._breaks = iter(breaks)
        self._ranges = ranges
        self.client = Longhaul(
            "http://api.test",
            token="t0ken",
            clock=FakeClock(),
            transport=httpx.MockTransport(self._handle),
        )

    def _handle(self, request: httpx.Request) -> httpx.Response:
        if request.url.host == "api.test":
            return httpx.Response(200, json={"downloadUrl": "http://s3.test/archive?signature=1"})
        assert "Authorization" not in request.headers
        if self.rejections:
            self.rejections -= 1
            return httpx.Response(403, text="<Code>AccessDenied</Code>")
        start = int(request.headers["Range"].removeprefix("bytes=").rstrip("-"))
        self.starts.append(start)
        if not self._ranges:
            return httpx.Response(200, stream=self._body(0))
        headers = {"Content-Range": f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"}
        return httpx.Response(206, headers=headers, stream=self._body(start))

    def _body(self, start: int) -> Stream:
        after = next(self._breaks, None)
        if after is None:
            return Stream(self.content[start:])
        return Stream(self.content[start : start + after], httpx.ReadError("cut"))


def completed(**members: object) -> Job:
    body = {"fileSize": len(CONTENT), "checksum": CHECKSUM, **members}
    return Job.from_json(job_json("completed", 9, **body))


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "out.zip"
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".part"] == []


def test_a_download_leaves_only_the_archive(target: Path) -> None:
    seen: list[int] = []
    Storage().client.download(completed(), target, lambda done, _: seen.append(done))
    assert target.read_bytes() == CONTENT
    assert seen[-1] == len(CONTENT)


def test_a_broken_connection_is_resumed_at_the_byte_where_it_broke(target: Path) -> None:
    storage = Storage(1000, 70_000)
    storage.client.download(completed(), target)
    assert storage.starts == [0, 1000, 71_000]
    assert target.read_bytes() == CONTENT


def test_a_response_that_ends_early_is_detected_by_the_size(target: Path) -> None:
    storage = Storage(content=CONTENT[:5000])
    with pytest.raises(TransferFailed, match="the download failed at byte 5000"):
        storage.client.download(completed(), target)
    next(target.parent.glob(".out.zip.*.part")).unlink()


def test_an_expired_url_is_replaced(target: Path) -> None:
    storage = Storage()
    storage.rejections = 1
    storage.client.download(completed(), target)
    assert target.read_bytes() == CONTENT


def test_progress_resets_the_number_of_failures(target: Path) -> None:
    storage = Storage(*[10_000] * (MAX_FAILURES * 3))
    storage.client.download(completed(), target)
    assert target.read_bytes() == CONTENT


def test_after_too_many_failures_the_received_bytes_are_kept_for_the_next_call(
    target: Path,
) -> None:
    storage = Storage(1000, *[0] * MAX_FAILURES)
    with pytest.raises(TransferFailed, match="the download failed at byte 1000"):
        storage.client.download(completed(), target)
    again = Storage()
    again.client.download(completed(), target)
    assert again.starts == [1000]
    assert target.read_bytes() == CONTENT


def test_a_storage_that_ignores_ranges_sends_everything_again(target: Path) -> None:
    storage = Storage(1000, ranges=False)
    storage.client.download(completed(), target)
    assert target.read_bytes() == CONTENT


def test_damaged_bytes_of_an_earlier_call_are_downloaded_again(target: Path) -> None:
    part = target.with_name(f".out.zip.{CHECKSUM.replace(':', '-')}.part")
    part.write_bytes(b"\xff" * 1000)
    storage = Storage()
    storage.client.download(completed(), target)
    assert storage.starts == [1000, 0]
    assert target.read_bytes() == CONTENT


def test_wrong_content_is_never_moved_to_the_target(target: Path) -> None:
    storage = Storage(content=bytes(len(CONTENT)))
    with pytest.raises(ChecksumMismatch, match=r"out\.zip does not have the checksum crc32:"):
        storage.client.download(completed(), target)
    assert not target.exists()


def test_an_archive_without_a_checksum_is_verified_by_its_size(target: Path) -> None:
    Storage().client.download(completed(checksum=None), target)
    assert target.read_bytes() == CONTENT


def test_an_empty_file_needs_no_range_request(target: Path) -> None:
    storage = Storage()
    storage.client.download(completed(fileSize=0, checksum="crc32:00000000"), target)
    assert target.read_bytes() == b""
    assert storage.starts == []


def test_a_job_without_an_archive_raises_before_any_request(target: Path) -> None:
    failed = Job.from_json(job_json("failed", 2, error="no", errorCode="FILE_NOT_FOUND"))
    with pytest.raises(JobUnsuccessful, match=f"job {JOB_ID}: failed: no"):
        Storage().client.download(failed, target)
