"""A storage that fails for all parts at once, in the middle of a build on a real S3 server."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from common.errors import NetworkError, StorageError
from common.object_storage import ObjectStorage
from stack.services import S3
from tests.support.archives import RecordingControl, make_request
from tests.support.s3_proxy import Fault, S3Proxy
from worker.archive import build

MIB = 1024 * 1024
#: For the retries of a request and the pauses after SlowDown, on a busy machine.
MAX_SECONDS = 20


@pytest.fixture
def proxy(s3: S3) -> Iterator[S3Proxy]:
    with S3Proxy(s3.port, seed=1) as proxy:
        yield proxy


@pytest.mark.parametrize("fault", ["507", "503", "reset"])
@pytest.mark.parametrize("sizes", [[8 * MIB] * 12, [200_000] * 80], ids=["copied", "written"])
def test_a_job_ends_with_the_error_of_the_storage_and_leaves_no_thread(
    module_buckets: Any, s3: S3, proxy: S3Proxy, fault: Fault, sizes: list[int]
) -> None:
    buckets = module_buckets
    for file_id, size in enumerate(sizes):
        buckets.put(file_id, os.urandom(size), name=f"{file_id}.bin")
    storage = ObjectStorage(
        endpoint=f"http://127.0.0.1:{proxy.port}",
        region="us-east-1",
        access_key=s3.access_key,
        secret_key=s3.secret_key,
    )
    failed_at: list[float] = []

    class FailingControl(RecordingControl):
        """Makes the storage fail when the first bytes are done."""

        def advance(self, bytes: int) -> None:
            if not failed_at:
                failed_at.append(time.monotonic())
                proxy.fail(fault, share=1.0)
            super().advance(bytes)

    control = FailingControl()
    before = set(threading.enumerate())
    with pytest.raises((StorageError, NetworkError)):
        build(
            make_request(list(range(len(sizes))), bucket=buckets.archives),
            source=buckets.source(), storage=storage, control=control,
        )  # fmt: skip
    assert time.monotonic() - failed_at[0] < MAX_SECONDS
    proxy.heal()
    deadline = time.monotonic() + 3
    while _builders(before) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert _builders(before) == []
    storage.close()


def _builders(before: set[threading.Thread]) -> list[str]:
    """Return the threads of the build that still run; those of the proxy do not count."""
    return [
        thread.name
        for thread in threading.enumerate()
        if thread not in before and "process_request" not in thread.name
    ]
