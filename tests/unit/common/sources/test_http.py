"""Files from HTTP origins that are slow, flaky, sparing with headers or hostile."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from common.errors import (
    CancelRequested,
    DownloadError,
    DownloadTimeout,
    FileChanged,
    NetworkError,
    SourceForbidden,
    TemporaryUnavailable,
)
from common.object_storage import Cancellation
from common.sources import Missing, SourceFile, source_from_template
from common.sources.http import HttpSource
from common.task_group import TaskGroup
from tests.support.archives import RecordingControl, contents, make_request
from tests.support.fake_s3 import FakeS3
from tests.support.http_origin import Origin, Page
from worker.archive import BuildOptions, build
from worker.archive.planning.layout import PartSizes
from worker.attempt.control import AttemptControl

DATA = random.Random(3).randbytes(50_000)


@pytest.fixture
def origin() -> Iterator[Origin]:
    origin = Origin()
    yield origin
    origin.close()


@pytest.fixture
def source(origin: Origin) -> Iterator[HttpSource]:
    source = HttpSource(f"{origin.url}/files/{{file_id}}")
    yield source
    source.close()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("common.object_storage.retries.BASE_DELAY", 0.001)


def describe(source: HttpSource, *file_ids: int) -> list[Any]:
    return source.describe(file_ids, TaskGroup(RecordingControl()), cached={})


def describe_one(source: HttpSource) -> SourceFile:
    file = describe(source, 1)[0]
    assert isinstance(file, SourceFile)
    return file


def read(source: HttpSource, file: SourceFile, start: int, length: int) -> bytes:
    view = memoryview(bytearray(length))
    source.read_into(file, view, start=start, cancellation=Cancellation(), progress=lambda _: None)
    return bytes(view)


def archive(
    source: HttpSource, *file_ids: int, control: RecordingControl | None = None, **changes: Any
) -> dict[str, bytes]:
    store = FakeS3()
    artifact = build(
        make_request(list(file_ids), **changes),
        source=source, storage=store, control=control or RecordingControl(),
        options=BuildOptions(
            part_sizes=PartSizes(min_part_size=100, write_size=5000, copy_size=9000)
        ),
    )  # fmt: skip
    assert store.open_uploads == {}
    return contents(store.objects["archives", artifact.key].data)


def test_file_is_described_by_its_headers(origin: Origin, source: HttpSource) -> None:
    origin.pages["/files/1"] = Page(
        DATA,
        headers={
            "content-disposition": "attachment; filename=\"x\"; filename*=UTF-8''%C3%BCber.txt",
            "content-type": "text/plain",
            "last-modified": "Fri, 02 Jan 2026 03:04:05 GMT",
        },
    )
    file = describe_one(source)
    assert (file.name, file.size, file.ranged) == ("über.txt", len(DATA), True)
    assert (file.content_type, file.etag) == ("text/plain", origin.pages["/files/1"].etag)
    assert file.modified is not None
    assert file.location is None


def test_description_comes_from_a_request_for_the_first_byte(
    origin: Origin, source: HttpSource
) -> None:
    origin.pages["/files/1"] = Page(DATA, supports_head=False)
    file = describe_one(source)
    assert (file.size, file.ranged, file.name) == (len(DATA), True, "1")
    assert origin.ranges() == ["bytes=0-0"]


def test_missing_and_forbidden_files_have_different_codes(
    origin: Origin, source: HttpSource
) -> None:
    origin.pages["/files/2"] = Page(DATA, error_statuses=[403, 403])
    gone, forbidden = describe(source, 1, 2)
    assert isinstance(gone, Missing)
    assert isinstance(forbidden, Missing)
    assert (gone.code, gone.message) == ("FILE_NOT_FOUND", "File 1 does not exist (HTTP 404)")
    assert forbidden.code == "PERMISSION_DENIED"
    assert forbidden.message == "File 2: A file source denied access to a file (HTTP 403)"


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (500, "A file source is temporarily unavailable (HTTP 500)"),
        (429, "A file source is rate limiting requests (HTTP 429)"),
        (418, "The source responded with an unexpected status (HTTP 418)"),
    ],
)
def test_an_error_names_the_file_and_the_status_but_not_the_signed_url(
    origin: Origin, status: int, message: str
) -> None:
    origin.pages["/files/1?key=secret"] = Page(DATA, error_statuses=[status] * 100)
    source = HttpSource(f"{origin.url}/files/{{file_id}}?key=secret")
    with pytest.raises(DownloadError) as failed:
        describe(source, 1)
    source.close()
    assert (failed.value.message, failed.value.file_id) == (f"File 1: {message}", 1)


def test_broken_connection_is_resumed_where_it_broke(origin: Origin, source: HttpSource) -> None:
    origin.pages["/files/1"] = Page(DATA, broken_at=[10_500, 7_000, 0, 123])
    file = describe_one(source)
    assert read(source, file, 0, len(DATA)) == DATA
    assert "bytes=10500-49999" in origin.ranges()
    resumed = [h for _, _, h in origin.requests if h.get("range", "").startswith("bytes=10500")]
    assert resumed[0]["if-range"] == file.etag


def test_file_that_changed_between_two_connections_is_noticed(
    origin: Origin, source: HttpSource
) -> None:
    origin.pages["/files/1"] = Page(DATA, broken_at=[10_000])
    file = describe_one(source)
    origin.pages["/files/1"].content = DATA[:-1] + b"!"
    with pytest.raises(FileChanged):
        read(source, file, 5, 20_000)


def test_temporary_errors_are_retried_and_lasting_ones_reported(
    origin: Origin, source: HttpSource
) -> None:
    origin.pages["/files/1"] = Page(DATA)
    file = describe_one(source)
    origin.pages["/files/1"].error_statuses = [503, 500, 429]
    assert read(source, file, 0, 100) == DATA[:100]
    origin.pages["/files/1"].error_statuses = [503] * 20
    with pytest.raises(TemporaryUnavailable):
        read(source, file, 0, 100)


def test_an_error_names_the_file_that_cannot_be_described(
    origin: Origin, source: HttpSource
) -> None:
    origin.pages["/files/1"] = Page(DATA)
    origin.pages["/files/1"].error_statuses = [503] * 20
    with pytest.raises(TemporaryUnavailable, match=r"^File 1: A file source is temporarily"):
        describe_one(source)


@pytest.mark.parametrize("behavior", [
    {},
    {"ranges": False},
    {"strong_etag": False},
    {"knows_size": False},
    {"knows_size": False, "ranges": False, "strong_etag": False},
    {"supports_head": False, "ranges": False},
])  # fmt: skip
def test_archive_is_built_from_any_kind_of_origin(
    origin: Origin, source: HttpSource, behavior: dict[str, Any]
) -> None:
    origin.pages["/files/1"] = Page(DATA, **behavior)
    origin.pages["/files/2"] = Page(b"", **behavior)
    origin.pages["/files/3"] = Page(DATA[:300])
    assert archive(source, 1, 2, 3) == {"1": DATA, "2": b"", "3": DATA[:300]}


@pytest.mark.parametrize("behavior", [{}, {"knows_size": False}, {"ranges": False}])
def test_archive_survives_broken_connections(
    origin: Origin, source: HttpSource, behavior: dict[str, Any]
) -> None:
    origin.pages["/files/1"] = Page(DATA, broken_at=[30_000, 1_500, 0, 0], **behavior)
    assert archive(source, 1) == {"1": DATA}


def test_file_without_a_version_cannot_be_resumed(origin: Origin, source: HttpSource) -> None:
    origin.pages["/files/1"] = Page(DATA, strong_etag=False, broken_at=[30_000])
    with pytest.raises(NetworkError):
        archive(source, 1)


def test_file_of_unknown_size_counts_against_the_limit_while_it_is_read(
    origin: Origin, source: HttpSource
) -> None:
    origin.pages["/files/1"] = Page(DATA, knows_size=False, ranges=False)
    with pytest.raises(Exception, match="more than 1000 bytes"):
        archive(source, 1, max_bytes=1000)


def test_trickling_origin_cannot_occupy_the_worker(origin: Origin, source: HttpSource) -> None:
    origin.pages["/files/1"] = Page(DATA, delay=0.2)
    started = time.monotonic()
    with pytest.raises(DownloadTimeout):
        archive(source, 1, min_rate=50_000, rate_window=0.5)
    assert time.monotonic() - started < 4


def test_origin_above_the_minimum_rate_cannot_exceed_the_deadline(
    origin: Origin, source: HttpSource
) -> None:
    origin.pages["/files/1"] = Page(DATA, delay=0.2)
    started = time.monotonic()
    with pytest.raises(DownloadTimeout):
        archive(source, 1, control=AttemptControl(deadline=1.0), min_rate=1, rate_window=0.5)
    assert 0.9 < time.monotonic() - started < 2.5


def test_cancellation_works_while_the_origin_hangs(origin: Origin, source: HttpSource) -> None:
    origin.pages["/files/1"] = Page(DATA, delay=5)
    control = RecordingControl()
    requested_at: list[float] = []

    def cancel() -> None:
        requested_at.append(time.monotonic())
        control.stop_with = CancelRequested()

    threading.Timer(0.5, cancel).start()
    with pytest.raises(CancelRequested):
        archive(source, 1, control=control)
    assert time.monotonic() - requested_at[0] < 1


def test_redirects_are_followed_within_the_allow_list_and_without_the_credentials(
    origin: Origin,
) -> None:
    other = Origin()
    try:
        origin.pages["/files/1"] = Page(b"", redirect=f"{other.url}/there/report.pdf")
        other.pages["/there/report.pdf"] = Page(DATA)
        source = HttpSource(
            f"{origin.url}/files/{{file_id}}",
            redirect_hosts=frozenset({other.host}),
            authorization="Bearer secret",
        )
        file = describe_one(source)
        assert (file.name, read(source, file, 0, 10)) == ("report.pdf", DATA[:10])
        assert all(h["authorization"] == "Bearer secret" for _, _, h in origin.requests)
        assert all("authorization" not in h for _, _, h in other.requests)
        source.close()
    finally:
        other.close()


@pytest.mark.parametrize(
    "target",
    ["http://169.254.169.254/latest/meta-data", "file:///etc/passwd", "http://user@127.0.0.1/"],
)
def test_redirect_to_any_other_host_is_rejected(
    origin: Origin, source: HttpSource, target: str
) -> None:
    origin.pages["/files/1"] = Page(b"", redirect=target)
    description = describe(source, 1)[0]
    assert isinstance(description, Missing)
    assert description.code == SourceForbidden.code


def test_secrets_in_a_query_are_not_stored(origin: Origin) -> None:
    origin.pages["/f?id=1&key=hush"] = Page(DATA)
    source = HttpSource(f"{origin.url}/f?id={{file_id}}&key=hush")
    assert "hush" not in describe_one(source).origin
    source.close()


@pytest.mark.parametrize("template", [
    "https://host/files", "ftp://host/{file_id}", "https://{file_id}/x", "https://u:p@host/{file_id}",
    "s3:///x/{file_id}",
])  # fmt: skip
def test_template_that_does_not_fix_the_host_is_rejected(template: str) -> None:
    with pytest.raises(ValueError, match="SOURCE_URL_TEMPLATE"):
        source_from_template(template, storage=FakeS3())
