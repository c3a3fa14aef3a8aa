"""Downloading an archive over connections that break, with signed URLs that expire."""

from __future__ import annotations

import io
import logging
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import httpx
import pytest

from longhaul_client import (
    ApiProblem,
    ChecksumMismatch,
    Job,
    JobUnsuccessful,
    Longhaul,
    TransferFailed,
    transfer,
)
from longhaul_client.part_file import PartFile
from tests.support.client_fakes import JOB_ID, FakeClock, Stream, job_json, problem

CONTENT = bytes(range(256)) * 1000
CHECKSUM = f"crc32:{zlib.crc32(CONTENT):08x}"


class Storage:
    """An API and an object storage. ``breaks`` are bytes after which a connection breaks."""

    def __init__(self, *breaks: int, content: bytes = CONTENT, ranges: bool = True) -> None:
        self.starts: list[int] = []
        self.content = content
        self.rejections = 0
        #: What the API responds before it works again.
        self.outage: list[httpx.Response | Exception] = []
        #: The ETags of the responses in order; then the last one.
        self.etags = ['"1"']
        self.total = len(CONTENT)
        #: Whether Content-Range contains the total.
        self.knows_total = True
        self.link: object = "http://s3.test/archive?signature=1"
        self.clock = FakeClock()
        self._breaks = iter(breaks)
        self._ranges = ranges
        self.client = Longhaul(
            "http://api.test",
            token="t0ken",
            clock=self.clock,
            transport=httpx.MockTransport(self._handle),
        )

    def _handle(self, request: httpx.Request) -> httpx.Response:
        if request.url.host == "api.test":
            return self._respond_as_api()
        assert "Authorization" not in request.headers
        if self.rejections:
            self.rejections -= 1
            return httpx.Response(403, text="<Code>AccessDenied</Code>")
        start = int(request.headers["Range"].removeprefix("bytes=").rstrip("-"))
        self.starts.append(start)
        if not self._ranges:
            return httpx.Response(200, headers=self._etag(), stream=self._body(0))
        total = self.total if self.knows_total else "*"
        headers = {"Content-Range": f"bytes {start}-{self.total - 1}/{total}"}
        return httpx.Response(206, headers=headers | self._etag(), stream=self._body(start))

    def _respond_as_api(self) -> httpx.Response:
        if not self.outage:
            return httpx.Response(200, json={"downloadUrl": self.link})
        response = self.outage.pop(0)
        if isinstance(response, Exception):
            raise response
        return response

    def _etag(self) -> dict[str, str]:
        etag = self.etags.pop(0) if len(self.etags) > 1 else self.etags[0]
        return {"ETag": etag} if etag else {}

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


def test_progress_resets_the_time_limit(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "STALL_TIMEOUT", 1.0)
    storage = Storage(*[10_000] * 20)
    storage.client.download(completed(), target)
    assert target.read_bytes() == CONTENT


def test_after_two_minutes_without_progress_the_received_bytes_are_kept_for_the_next_call(
    target: Path,
) -> None:
    storage = Storage(1000, *[0] * 100)
    with pytest.raises(TransferFailed, match="the download failed at byte 1000"):
        storage.client.download(completed(), target)
    assert 120 < sum(storage.clock.pauses) < 140
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


def part_of(target: Path, job: Job) -> Path:
    tag = (job.checksum or job.job_id).replace(":", "-")
    return target.with_name(f".{target.name}.{tag}.part")


def test_two_downloads_to_one_file_do_not_mix(target: Path) -> None:
    first, second = Storage(), Storage()
    rejected: list[str] = []

    def start_another(done: int, _: int) -> None:
        with pytest.raises(TransferFailed, match="another process is downloading") as caught:
            second.client.download(completed(), target)
        rejected.append(str(caught.value))

    first.client.download(completed(), target, start_another)
    assert "choose another output file" in rejected[0]
    assert second.starts == []
    assert target.read_bytes() == CONTENT


def test_a_part_that_another_download_has_renamed_is_not_written(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = part_of(target, completed())
    part.write_bytes(CONTENT)
    open_file = Path.open

    def open_then_lose(path: Path, *args: Any, **options: Any) -> Any:
        file = open_file(path, *args, **options)
        path.replace(target)
        return file

    monkeypatch.setattr(Path, "open", open_then_lose)
    with pytest.raises(TransferFailed, match="another process is downloading"):
        PartFile(part)
    monkeypatch.undo()
    assert target.read_bytes() == CONTENT


# RFC 9110, 15.3.7.3: parts may be combined only if they have the same strong validator.
UNSAFE_ETAGS = [['"1"', '"2"'], ['W/"1"'], [""], ['"1"', ""]]


@pytest.mark.parametrize("etags", UNSAFE_ETAGS)
@pytest.mark.parametrize("ranges", [True, False])
def test_without_a_checksum_a_file_that_may_have_changed_is_downloaded_again(
    target: Path, etags: list[str], ranges: bool
) -> None:
    storage = Storage(1000, ranges=ranges)
    storage.etags = list(etags)
    storage.client.download(completed(checksum=None), target)
    assert storage.starts == [0, 1000, 0]
    assert target.read_bytes() == CONTENT


def test_without_a_checksum_a_file_that_keeps_changing_fails(target: Path) -> None:
    storage = Storage(1000, 1000, 1000)
    storage.etags = [""]
    with pytest.raises(TransferFailed, match="may have changed during the download"):
        storage.client.download(completed(checksum=None), target)
    part_of(target, completed(checksum=None)).unlink()


@pytest.mark.parametrize("etags", UNSAFE_ETAGS)
def test_without_a_checksum_a_stream_is_not_mixed(etags: list[str]) -> None:
    storage, stream = Storage(1000), io.BytesIO()
    storage.etags = list(etags)
    with pytest.raises(TransferFailed, match="may have changed during the download"):
        storage.client.download(completed(checksum=None), stream)
    assert stream.getvalue() == CONTENT[:1000]


def test_without_a_checksum_the_same_strong_etag_allows_to_resume(target: Path) -> None:
    storage = Storage(1000)
    storage.client.download(completed(checksum=None), target)
    assert storage.starts == [0, 1000]
    assert target.read_bytes() == CONTENT


def test_with_a_checksum_etags_do_not_matter(target: Path) -> None:
    storage = Storage(1000)
    storage.etags = ['"1"', '"2"']
    storage.client.download(completed(), target)
    assert storage.starts == [0, 1000]


def test_without_a_checksum_the_bytes_of_an_earlier_call_are_not_used(target: Path) -> None:
    unverified = completed(checksum=None)
    part_of(target, unverified).write_bytes(bytes(1000))
    storage = Storage()
    storage.client.download(unverified, target)
    assert storage.starts == [0]
    assert target.read_bytes() == CONTENT


def test_a_file_with_another_size_is_rejected(target: Path) -> None:
    # RFC 9110, 14.4: Content-Range contains the complete length.
    storage = Storage()
    storage.total = len(CONTENT) + 1
    with pytest.raises(TransferFailed, match="has 256001 bytes, but the archive 256000"):
        storage.client.download(completed(checksum=None), target)
    part_of(target, completed(checksum=None)).unlink()


def test_the_length_in_content_range_may_be_unknown(target: Path) -> None:
    # RFC 9110, 14.4: complete-length / "*".
    storage = Storage(1000)
    storage.knows_total = False
    storage.client.download(completed(), target)
    assert target.read_bytes() == CONTENT


class WithoutCount:
    """A target whose ``write`` returns nothing, as wrappers of users do."""

    def __init__(self) -> None:
        self.chunks: list[bytes] = []

    def write(self, chunk: bytes) -> None:
        self.chunks.append(chunk)

    def flush(self) -> None:
        """Do nothing."""


def test_a_target_may_return_no_count() -> None:
    target = WithoutCount()
    Storage().client.download(completed(), cast(BinaryIO, target))
    assert b"".join(target.chunks) == CONTENT


@pytest.mark.parametrize("ranges", [True, False])
def test_more_bytes_than_the_size_are_rejected(target: Path, ranges: bool) -> None:
    storage = Storage(content=CONTENT + b"x", ranges=ranges)
    with pytest.raises(TransferFailed, match="more than the 256000 bytes"):
        storage.client.download(completed(checksum=None), target)
    assert not target.exists()
    part_of(target, completed(checksum=None)).unlink()


class ShortWrites(io.RawIOBase):
    """A raw stream that takes at most 1,000 bytes at a time."""

    def __init__(self) -> None:
        self.content = b""

    def write(self, data: Any) -> int:
        self.content += bytes(data[:1000])
        return min(1000, len(data))


def test_a_stream_that_takes_a_part_of_the_bytes_gets_them_all() -> None:
    # Python, io.RawIOBase.write: the number of bytes written may be less than the length.
    stream: Any = ShortWrites()
    Storage().client.download(completed(), stream)
    assert stream.content == CONTENT


def test_a_file_that_takes_a_part_of_the_bytes_gets_them_all(tmp_path: Path) -> None:
    with PartFile(tmp_path / "out.part") as part:
        file = part._file
        stream: Any = ShortWrites()
        part._file = stream
        part.append(CONTENT)
        part._file = file
    assert stream.content == CONTENT


def test_a_size_that_another_program_changed_is_detected(target: Path) -> None:
    unverified = completed(checksum=None)
    part = part_of(target, unverified)

    def append(done: int, _: int) -> None:
        with part.open("ab") as file:
            file.write(b"x")

    with pytest.raises(TransferFailed, match="bytes instead of 256000"):
        Storage().client.download(unverified, target, append)
    part.unlink()


def test_a_long_outage_of_the_api_is_outlasted(target: Path) -> None:
    # RFC 9110, 10.2.3: Retry-After.
    storage = Storage(1000)
    busy = problem(429, "RATE_LIMIT_EXCEEDED", **{"Retry-After": "20"})
    storage.outage = [
        *[httpx.ConnectError("refused")] * 10,
        problem(503, "BACKEND_UNAVAILABLE"),
        httpx.Response(502, html="<h1>Bad Gateway</h1>"),
        busy,
    ]
    storage.client.download(completed(), target)
    assert target.read_bytes() == CONTENT
    assert 20.0 in storage.clock.pauses


def test_a_retry_after_is_honored_up_to_a_limit(target: Path) -> None:
    storage = Storage()
    storage.outage = [problem(503, "BACKEND_UNAVAILABLE", **{"Retry-After": "3600"})]
    storage.client.download(completed(), target)
    assert storage.clock.pauses == [30.0]


def test_an_outage_of_the_api_ends_the_transfer_after_two_minutes(target: Path) -> None:
    storage = Storage()
    storage.outage = [httpx.ConnectError("refused")] * 1000
    with pytest.raises(TransferFailed, match="at byte 0: cannot reach"):
        storage.client.download(completed(), target)
    assert 120 < sum(storage.clock.pauses) < 140
    part_of(target, completed()).unlink()


def test_a_rejected_link_is_final(target: Path) -> None:
    storage = Storage()
    storage.outage = [problem(410, "JOB_EXPIRED")]
    with pytest.raises(ApiProblem, match="JOB_EXPIRED"):
        storage.client.download(completed(), target)
    part_of(target, completed()).unlink()


def test_an_invalid_link_is_one_error_without_the_link(target: Path) -> None:
    # RFC 3986, 3.2.3: a port consists of digits.
    storage = Storage()
    storage.link = "http://s3.test:port/archive?signature=1"
    with pytest.raises(TransferFailed, match="not a valid URL") as caught:
        storage.client.download(completed(), target)
    assert "signature" not in str(caught.value)
    part_of(target, completed()).unlink()


def test_the_signed_url_is_not_logged(target: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    Storage(1000).client.download(completed(), target)
    assert "api.test" in caplog.text
    assert "signature" not in caplog.text


def test_a_checksum_of_the_api_never_names_another_folder(target: Path) -> None:
    with pytest.raises(ChecksumMismatch):
        Storage().client.download(completed(checksum="crc32:../../x"), target)
