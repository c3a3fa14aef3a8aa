"""Other headers of origins: dates, names, and how long to wait."""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from common.errors import SourceRateLimited
from common.sources import SourceFile
from common.task_group import TaskGroup
from tests.integration.sources.conftest import Download, Downloads
from tests.support.archives import RecordingControl
from tests.support.raw_origin import Request, partial, response

DATA = random.Random(7).randbytes(12_000)


def described(files: Download) -> SourceFile:
    (file,) = files.source.describe([1], TaskGroup(RecordingControl()), cached={})
    assert isinstance(file, SourceFile)
    return file


@pytest.mark.parametrize("value", [
    "0",
    "",
    "-1",
    "2026-11-28T10:00:00Z",
    "Sat, 28 Nov 114322 10:00:00 GMT",
    "Sat, 99 Nov 2026 10:00:00 GMT",
    "Sat, 28 Nov 2026 25:61:00 GMT",
    "Fri, 31 Dec 9999 23:59:59 -2359",
    "1764324000",
    "yesterday",
    ",,,,",
    "Sat, 28 Nov 2026 10:00:00 +999999999999",
])  # fmt: skip
def test_date_that_is_no_date_is_ignored(download: Downloads, value: str) -> None:
    """RFC 9110, 5.6.7 and 8.8.2."""
    files = download(lambda request: partial(request, DATA, last_modified=value))
    assert files.archive() == {"1": DATA}
    assert described(files).modified is None


@pytest.mark.parametrize("value", [
    "Sun, 06 Nov 1994 08:49:37 GMT",
    "Sunday, 06-Nov-94 08:49:37 GMT",
    "Sun Nov  6 08:49:37 1994",
    "Sun, 06 Nov 1994 08:49:37",
    "Sun, 06 Nov 1994 09:49:37 +0100",
])  # fmt: skip
def test_dates_of_all_forms_are_understood(download: Downloads, value: str) -> None:
    """RFC 9110, 5.6.7: two obsolete forms must be accepted."""
    files = download(lambda request: partial(request, DATA, last_modified=value))
    assert described(files).modified == datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)
    assert files.archive() == {"1": DATA}


@pytest.mark.parametrize("value", [
    "Mon, 01 Jan 0001 00:00:00 GMT",
    "Thu, 01 Jan 1970 00:00:00 GMT",
    "Fri, 31 Dec 9999 23:59:59 GMT",
])  # fmt: skip
def test_dates_that_zip_cannot_store_are_no_trouble(download: Downloads, value: str) -> None:
    """ZIP stores 1980 to 2107 only."""
    files = download(lambda request: partial(request, DATA, last_modified=value))
    assert files.archive() == {"1": DATA}


@pytest.mark.parametrize(("disposition", "name"), [
    ('attachment; filename="Q1/Q2 report.csv"', "Q1_Q2 report.csv"),
    ('attachment; filename="../../etc/passwd"', "passwd"),
    ('attachment; filename="COM1 .txt"', "_COM1 .txt"),
    ('attachment; filename="CONIN$"', "_CONIN$"),
    ('attachment; xfilename="wrong"', "1"),
    ("attachment; filename*=UTF-8''%ff", "1"),
    ('attachment; filename="=?utf-8?B?A?="', "=_utf-8_B_A_="),
    ('attachment; filename=""', "1"),
    ('attachment; filename="\t"', "file-1"),
])  # fmt: skip
def test_names_are_parsed_and_made_safe(download: Downloads, disposition: str, name: str) -> None:
    """RFC 6266, 4.3 and RFC 8187, 3.2.1."""
    files = download(lambda request: partial(request, DATA, content_disposition=disposition))
    assert files.archive() == {name: DATA}


@pytest.mark.parametrize("is_date", [False, True])
def test_retry_after_is_honored_within_an_attempt(download: Downloads, is_date: bool) -> None:
    """RFC 9110, 10.2.3: seconds, or a date."""
    arrivals: list[float] = []

    def serve(request: Request) -> bytes:
        arrivals.append(time.monotonic())
        if len(arrivals) == 1:
            # Dates have no fractions: one in 2.x seconds is at least one second from now.
            date = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
            return response(status=503, retry_after=date if is_date else "1")
        return partial(request, DATA)

    assert download(serve).archive() == {"1": DATA}
    assert 0.9 < arrivals[1] - arrivals[0] < 10


@pytest.mark.parametrize(("value", "seconds"), [("120", 120), ("9" * 400, 300)])
def test_long_wait_is_left_to_the_next_attempt(
    download: Downloads, value: str, seconds: float
) -> None:
    """RFC 9110, 10.2.3: a worker does other jobs meanwhile. The wait is capped."""
    files = download(lambda _: response(status=429, retry_after=value))
    began = time.monotonic()
    with pytest.raises(SourceRateLimited) as failed:
        files.archive()
    assert failed.value.retry_after == seconds
    assert len(files.origin.requests) == 1
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("value", ["soon", "-5", "1.5", "\u00b2", "", "0"])
def test_retry_after_that_says_nothing_is_ignored(download: Downloads, value: str) -> None:
    """RFC 9110, 10.2.3."""
    count = iter(range(100))
    files = download(
        lambda request: (
            response(status=503, retry_after=value) if next(count) == 0 else partial(request, DATA)
        )
    )
    assert files.archive() == {"1": DATA}


def test_files_are_requested_as_they_are(download: Downloads) -> None:
    """RFC 9110, 12.5.3: ``identity`` asks for no content coding."""
    files = download(lambda request: partial(request, DATA))
    files.archive()
    assert {request.headers["accept-encoding"] for request in files.origin.requests} == {"identity"}
