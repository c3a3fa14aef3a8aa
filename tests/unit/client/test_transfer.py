"""Fetching an archive over lines that break, with links that run out."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from longhaul_client import ChecksumMismatch, Job, JobUnsuccessful, Longhaul, TransferFailed
from longhaul_client.transfer import PATIENCE
from tests.support.client_fakes import JOB_ID, FakeClock, Stream, job_json

CONTENT = bytes(range(256)) * 1000
CHECKSUM = f"crc32:{zlib.crc32(CONTENT):08x}"


class Storage:
    """Answers link and object requests; ``breaks`` are the byte counts after which a line drops."""

    def __init__(self, *breaks: int, content: bytes = CONTENT, ranges: bool = True) -> None:
        self.starts: list[int] = []
        self.content = content
        self.refusals = 0
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
        if self.refusals:
            self.refusals -= 1
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


def test_an_archive_arrives_whole_and_leaves_nothing_beside_it(target: Path) -> None:
    seen: list[int] = []
    Storage().client.download(completed(), target, lambda done, _: seen.append(done))
    assert target.read_bytes() == CONTENT
    assert seen[-1] == len(CONTENT)


def test_a_broken_line_is_taken_up_at_the_byte_where_it_broke(target: Path) -> None:
    storage = Storage(1000, 70_000)
    storage.client.download(completed(), target)
    assert storage.starts == [0, 1000, 71_000]
    assert target.read_bytes() == CONTENT


def test_a_line_that_drops_without_an_error_is_noticed_by_the_size(target: Path) -> None:
    storage = Storage(content=CONTENT[:5000])
    with pytest.raises(TransferFailed, match="broke off at byte 5000"):
        storage.client.download(completed(), target)
    next(target.parent.glob(".out.zip.*.part")).unlink()


def test_a_link_that_ran_out_is_replaced(target: Path) -> None:
    storage = Storage()
    storage.refusals = 1
    storage.client.download(completed(), target)
    assert target.read_bytes() == CONTENT


def test_progress_resets_the_patience_with_a_line_that_keeps_breaking(target: Path) -> None:
    storage = Storage(*[10_000] * (PATIENCE * 3))
    storage.client.download(completed(), target)
    assert target.read_bytes() == CONTENT


def test_a_line_that_stays_down_is_given_up_and_what_came_is_kept_for_the_next_call(
    target: Path,
) -> None:
    storage = Storage(1000, *[0] * PATIENCE)
    with pytest.raises(TransferFailed, match="broke off at byte 1000"):
        storage.client.download(completed(), target)
    again = Storage()
    again.client.download(completed(), target)
    assert again.starts == [1000]
    assert target.read_bytes() == CONTENT


def test_a_storage_without_ranges_sends_the_whole_again(target: Path) -> None:
    storage = Storage(1000, ranges=False)
    storage.client.download(completed(), target)
    assert target.read_bytes() == CONTENT


def test_a_damaged_rest_of_an_earlier_call_is_thrown_away_once(target: Path) -> None:
    part = target.with_name(f".out.zip.{CHECKSUM.replace(':', '-')}.part")
    part.write_bytes(b"\xff" * 1000)
    storage = Storage()
    storage.client.download(completed(), target)
    assert storage.starts == [1000, 0]
    assert target.read_bytes() == CONTENT


def test_wrong_bytes_never_reach_the_target(target: Path) -> None:
    storage = Storage(content=bytes(len(CONTENT)))
    with pytest.raises(ChecksumMismatch, match=r"out\.zip is not crc32:"):
        storage.client.download(completed(), target)
    assert not target.exists()


def test_an_archive_without_a_checksum_is_checked_by_its_size_only(target: Path) -> None:
    Storage().client.download(completed(checksum=None), target)
    assert target.read_bytes() == CONTENT


def test_an_empty_file_is_fetched_without_asking_for_a_range_of_it(target: Path) -> None:
    storage = Storage()
    storage.client.download(completed(fileSize=0, checksum="crc32:00000000"), target)
    assert target.read_bytes() == b""
    assert storage.starts == []


def test_a_job_without_an_archive_is_refused_before_any_request(target: Path) -> None:
    failed = Job.from_json(job_json("failed", 2, error="no", errorCode="FILE_NOT_FOUND"))
    with pytest.raises(JobUnsuccessful, match=f"job {JOB_ID}: failed: no"):
        Storage().client.download(failed, target)
