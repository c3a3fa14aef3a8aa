"""Limits for each source host: requests and bytes a second, and connections."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from common.object_storage import Cancellation, Cancelled
from common.settings import SettingError, Settings
from common.sources import HostLimits, SourceFile
from common.sources.host_limits import HostLimiter
from common.sources.http import HttpSource
from common.task_group import TaskGroup
from tests.support.archives import RecordingControl
from tests.support.http_origin import Origin, Page
from worker.archive.min_rate import MinRate

HOST = "files.example"


class VirtualTime(Cancellation):
    """A clock and a cancellation whose waits take no time."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.waits = 0

    def wait(self, seconds: float) -> None:
        self.now += seconds

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float, /) -> None:
        self.now += seconds

    def on_wait(self) -> None:
        self.waits += 1


@pytest.fixture
def virtual() -> VirtualTime:
    return VirtualTime()


def test_requests_have_a_rate_after_a_burst(virtual: VirtualTime) -> None:
    limiter = HostLimiter(HostLimits(requests_per_second=4), clock=virtual)
    times = []
    for _ in range(20):
        with limiter.request(HOST, virtual, virtual.on_wait):
            times.append(virtual.now - 100)
    assert times[3] == 0
    assert times[-1] == pytest.approx(4.0)
    assert virtual.waits >= 16


def test_a_pause_does_not_save_more_than_one_burst(virtual: VirtualTime) -> None:
    limiter = HostLimiter(HostLimits(bytes_per_second=1_000), clock=virtual)
    virtual.now += 3_600
    started = virtual.now
    for _ in range(50):
        limiter.count_bytes(HOST, 100, virtual, virtual.on_wait)
    assert virtual.now - started == pytest.approx(4.0)


def test_each_host_has_limits_of_its_own(virtual: VirtualTime) -> None:
    limiter = HostLimiter(HostLimits(bytes_per_second=1_000), clock=virtual)
    for host in ("a.example", "b.example"):
        limiter.count_bytes(host, 1_000, virtual, virtual.on_wait)
    assert virtual.now == 100


def test_reads_are_small_enough_for_short_pauses() -> None:
    assert HostLimiter(HostLimits(bytes_per_second=80_000)).max_read(262_144) == 10_000
    assert HostLimiter(HostLimits(bytes_per_second=1)).max_read(262_144) == 1_024
    assert HostLimiter().max_read(262_144) == 262_144


def test_a_cancelled_thread_stops_waiting() -> None:
    limiter = HostLimiter(HostLimits(connections=1, requests_per_second=0.001))
    cancellation = Cancellation()
    cancellation.set()
    with (
        limiter.request(HOST, Cancellation(), lambda: None),
        pytest.raises(Cancelled),
        limiter.request(HOST, cancellation, lambda: None),
    ):
        raise AssertionError("there is one connection only")
    with pytest.raises(Cancelled), limiter.request(HOST, cancellation, lambda: None):
        raise AssertionError("the request has to wait")


@contextmanager
def http_source(limits: HostLimits) -> Iterator[tuple[HttpSource, Origin]]:
    origin = Origin()
    source = HttpSource(f"{origin.url}/files/{{file_id}}", limits=limits)
    try:
        yield source, origin
    finally:
        source.close()
        origin.close()


def describe(source: HttpSource, count: int) -> list[SourceFile]:
    found = source.describe(range(count), TaskGroup(RecordingControl()), cached={})
    assert all(isinstance(each, SourceFile) for each in found)
    return [each for each in found if isinstance(each, SourceFile)]


def test_no_more_connections_than_allowed_are_open() -> None:
    with http_source(HostLimits(connections=2)) as (source, origin):
        origin.pages = {f"/files/{number}": Page(b"x", delay=0.01) for number in range(12)}
        describe(source, 12)
        assert len(origin.peers) == 2


def test_a_body_takes_as_long_as_its_limit_says_and_the_wait_is_not_a_slow_source() -> None:
    content = bytes(60_000)
    with http_source(HostLimits(bytes_per_second=40_000)) as (source, origin):
        origin.pages = {"/files/0": Page(content)}
        (file,) = describe(source, 1)
        view = memoryview(bytearray(len(content)))
        control = MinRate(RecordingControl(), min_rate=1_000_000, window=0.3)
        stop = threading.Event()
        errors: list[Exception] = []

        def check() -> None:
            while not stop.wait(0.02):
                try:
                    control.check()
                except Exception as error:  # noqa: BLE001
                    errors.append(error)

        checker = threading.Thread(target=check)
        checker.start()
        started = time.monotonic()
        with control.reading() as progress:
            source.read_into(file, view, start=0, cancellation=Cancellation(), progress=progress)
        stop.set()
        checker.join()
        assert time.monotonic() - started >= 0.4
        assert errors == []
        assert bytes(view) == content


@pytest.mark.parametrize("text", ["-1", "nan", "inf"])
@pytest.mark.parametrize("name", ["REQUESTS_PER_SECOND", "BYTES_PER_SECOND", "CONNECTIONS"])
def test_the_limits_come_from_the_settings_and_must_not_be_negative(name: str, text: str) -> None:
    with pytest.raises(SettingError, match=f"SOURCE_HOST_{name}"):
        Settings.from_env({f"SOURCE_HOST_{name}": text})
