"""A storage that fails for all parts at once, in the middle of a build on a real S3 server.

The job ends with the error of the storage soon after, and no thread is left. Its own retries, and
the circuit breaker, wait until the storage works again.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from redis import Redis

from common.authorization import AllFiles
from common.errors import DependencyUnavailable, LonghaulError, NetworkError
from common.job_store import keys
from common.job_store.client import open_client
from common.jobs.model import FileGrant, JobSpec
from common.object_storage import ObjectStorage
from common.object_storage.cancellation import MAX_OUTAGE
from common.object_storage.errors import BucketForbidden, StorageBusy, StorageFull
from common.object_storage.retry_budget import RetriedRequest, RetryBudget
from common.settings import Settings
from stack.process import wait_until
from stack.services import S3, Valkey, start_s3
from tests.integration.archive.conftest import Buckets
from tests.support.archives import RecordingControl, make_request
from tests.support.crashes import CrashPoints, MemoryCheckpoint
from tests.support.s3_proxy import Fault, S3Proxy
from tests.support.seaweedfs import add_user, reject_writes, revoke_writes
from worker.archive import BuildOptions, build
from worker.archive_builder import ArchiveBuilder

MIB = 1024 * 1024
#: From the moment when all requests fail until the job has its error. A busy machine may take
#: two seconds more. Without the limit of an outage, it takes three to eight seconds.
MAX_SECONDS = MAX_OUTAGE + 2.0
#: More files than are copied or read at the same time.
SIZES = {"copied": [6 * MIB] * 24, "written": [200_000] * 80, "streamed": [3 * MIB] * 20}


class Outage(RecordingControl):
    """Breaks the storage when the first bytes are done, and lets no part finish meanwhile."""

    def __init__(self, break_storage: Callable[[], object]) -> None:
        super().__init__()
        self._break = break_storage
        self._once = threading.Lock()
        self._broken = threading.Event()
        self.began_at = 0.0

    def advance(self, bytes: int) -> None:
        super().advance(bytes)
        if self._once.acquire(blocking=False):
            self._break()
            self.began_at = time.monotonic()
            self._broken.set()
        assert self._broken.wait(30)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[S3]:
    """Start a server that the test may break."""
    server = start_s3(tmp_path / "s3")
    yield server
    server.process.kill()


@pytest.fixture
def user_storage(server: S3) -> Iterator[ObjectStorage]:
    """Return the server's storage for a user whose permissions the test may revoke."""
    administrator = ObjectStorage(
        endpoint=server.endpoint, region="us-east-1",
        access_key=server.access_key, secret_key=server.secret_key,
    )  # fmt: skip

    def create_buckets() -> None:
        administrator.ensure_bucket("files")
        administrator.ensure_bucket("archives")

    with closing(administrator):
        wait_until(partial(succeeds, create_buckets), "the buckets")
        with closing(add_user(server)) as storage:
            wait_until(
                partial(succeeds, lambda: storage.put_object("archives", "ready", b"")), "the user"
            )
            yield storage


def succeeds(call: Callable[[], object]) -> bool:
    try:
        call()
    except LonghaulError:
        return False
    return True


@pytest.fixture
def redis(valkey: Valkey) -> Iterator[Redis]:
    client = open_client(valkey.url, timeout=5)
    client.flushall()
    yield client
    client.close()


@pytest.fixture
def all_failed(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Return when all requests of the job had failed ``once`` and ``twice``."""
    times: dict[str, float] = {}
    take_retry = RetryBudget.take_retry

    def record(budget: RetryBudget, request: RetriedRequest) -> bool:
        may_retry = take_retry(budget, request)
        if budget._failed == budget._requests:
            times.setdefault("once", time.monotonic())
        if budget._failed_twice == budget._requests:
            times.setdefault("twice", time.monotonic())
        return may_retry

    monkeypatch.setattr(RetryBudget, "take_retry", record)
    return times


def put_files(buckets: Buckets, sizes: list[int]) -> None:
    for file_id, size in enumerate(sizes):
        buckets.put(file_id, os.urandom(size), name=f"{file_id}.bin")


def source_of(buckets: Buckets, kind: str) -> Any:
    source: Any = buckets.source()
    if kind == "streamed":
        describe = source.describe
        source.describe = lambda *args, **options: [
            replace(file, ranged=False, location=None) for file in describe(*args, **options)
        ]
    return source


def assert_no_thread_is_left(before: set[threading.Thread]) -> None:
    def left() -> list[str]:
        # Those of proxies do not count: other tests can have left some.
        return [
            thread.name
            for thread in threading.enumerate()
            if thread not in before
            and not any(name in thread.name for name in ("process_request", "tcp-proxy"))
        ]

    deadline = time.monotonic() + 3
    while left() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left() == []


BREAK: dict[str, tuple[Callable[[S3], object], tuple[type[LonghaulError], ...], str]] = {
    "killed": (lambda server: server.process.kill(), (DependencyUnavailable,), "storage"),
    # It responds to the check. The first attempt is excused if all requests fail when one is given
    # up; SeaweedFS takes some seconds to fail them.
    "full": (
        lambda server: reject_writes(server, "archives"),
        (DependencyUnavailable, StorageBusy),
        "500 InternalError",
    ),
    "revoked": (revoke_writes, (BucketForbidden,), "denied access to the bucket"),
}


@pytest.mark.parametrize("way", list(BREAK))
@pytest.mark.parametrize("kind", list(SIZES))
def test_a_job_has_its_error_soon_after_an_outage_and_no_thread_is_left(
    redis: Redis, server: S3, user_storage: ObjectStorage, all_failed: dict[str, float],
    way: str, kind: str,
) -> None:  # fmt: skip
    buckets = Buckets(storage=user_storage, sources="files", archives="archives")
    put_files(buckets, SIZES[kind])
    settings = Settings.from_env({"ARCHIVE_BUCKET": "archives", "MANAGE_BUCKET": "false"})
    source = source_of(buckets, kind)
    archives = ArchiveBuilder(cast("Any", SimpleNamespace(
        settings=settings, storage=user_storage, redis=redis, queries=None, source=source,
        authorizer=AllFiles(),
    )))  # fmt: skip
    archives.prepare()
    now = int(time.time() * 1000)
    job_id = keys.new_job_id(str(uuid.uuid4()))
    claim: Any = SimpleNamespace(
        job=SimpleNamespace(
            id=job_id, created_at=now, started_at=now, updated_at=now, postponed_since=None
        ),
        lease=SimpleNamespace(fencing_token=1),
        grant=FileGrant(),
        spec=JobSpec(file_ids=tuple(range(len(SIZES[kind])))),
    )
    run = archives.circuit_breakers(redis).wrap(archives.build)
    break_storage, errors, message = BREAK[way]
    control = Outage(lambda: break_storage(server))
    before = set(threading.enumerate())

    with pytest.raises(errors, match=message):
        run(claim, control)

    # SeaweedFS tries for some seconds to write into a full bucket before it responds.
    since = all_failed["twice"] if way == "full" else control.began_at
    assert time.monotonic() - since < MAX_SECONDS
    assert_no_thread_is_left(before)


@pytest.fixture
def proxy(s3: S3) -> Iterator[S3Proxy]:
    with S3Proxy(s3.port, seed=1) as proxy:
        yield proxy


@pytest.fixture
def through_proxy(s3: S3, proxy: S3Proxy) -> Iterator[ObjectStorage]:
    storage = ObjectStorage(
        endpoint=f"http://127.0.0.1:{proxy.port}", region="us-east-1",
        access_key=s3.access_key, secret_key=s3.secret_key,
    )  # fmt: skip
    with closing(storage):
        yield storage


@pytest.mark.parametrize(("fault", "error", "max_seconds"), [
    ("507", StorageFull, MAX_SECONDS),
    ("503", StorageBusy, MAX_SECONDS),
    ("500", StorageBusy, MAX_SECONDS),
    # The server handles each request before the connection breaks.
    ("reset", NetworkError, 20),
], ids=["507", "503", "500", "reset"])  # fmt: skip
@pytest.mark.parametrize("kind", list(SIZES))
def test_an_attempt_ends_soon_when_every_request_fails(
    module_buckets: Buckets, proxy: S3Proxy, through_proxy: ObjectStorage,
    all_failed: dict[str, float], fault: Fault, error: type[LonghaulError], max_seconds: float,
    kind: str,
) -> None:  # fmt: skip
    buckets = module_buckets
    put_files(buckets, SIZES[kind])
    control = Outage(lambda: proxy.fail(fault, share=1.0))
    before = set(threading.enumerate())

    with pytest.raises(error):
        build(
            make_request(list(range(len(SIZES[kind]))), bucket=buckets.archives),
            source=source_of(buckets, kind), storage=through_proxy, control=control,
            options=BuildOptions(checkpoint=MemoryCheckpoint(CrashPoints())),
        )  # fmt: skip

    # Requests that are already with the server succeed; if the last one fails a second time before
    # the others have failed at all, the attempt ends immediately. A full storage is not tried
    # again.
    since = proxy.failing_since if fault == "507" else all_failed.get("once", proxy.failing_since)
    assert time.monotonic() - since < max_seconds
    proxy.heal()
    assert_no_thread_is_left(before)


@pytest.mark.parametrize("fault", ["500", "503", "reset"])
@pytest.mark.parametrize("kind", list(SIZES))
def test_an_attempt_outlasts_errors_of_some_requests(
    module_buckets: Buckets, proxy: S3Proxy, through_proxy: ObjectStorage, fault: Fault, kind: str
) -> None:
    buckets = module_buckets
    put_files(buckets, SIZES[kind])
    control = Outage(lambda: proxy.fail(fault, share=0.15))
    artifact = build(
        make_request(list(range(len(SIZES[kind]))), bucket=buckets.archives),
        source=source_of(buckets, kind), storage=through_proxy, control=control,
    )  # fmt: skip
    assert proxy.injected[fault]
    assert artifact.size > sum(SIZES[kind])


def test_an_attempt_outlasts_a_short_outage(
    module_buckets: Buckets, proxy: S3Proxy, through_proxy: ObjectStorage
) -> None:
    buckets = module_buckets
    put_files(buckets, SIZES["written"])

    def fail_shortly() -> None:
        proxy.fail("503", share=1.0)
        threading.Timer(0.4, proxy.heal).start()

    artifact = build(
        make_request(list(range(80)), bucket=buckets.archives),
        source=source_of(buckets, "written"), storage=through_proxy, control=Outage(fail_shortly),
    )  # fmt: skip
    assert artifact.size > sum(SIZES["written"])
