"""A storage that fails for all parts at once: the job ends with the real error, immediately."""

from __future__ import annotations

import threading
import time

import pytest

from common.errors import DownloadError, SourceForbidden, StorageError
from tests.support.small_catalog import SmallCatalog

pytestmark = pytest.mark.usefixtures("narrow")


@pytest.mark.parametrize("error", [
    StorageError("The storage responded with 507 InsufficientStorage to PUT"),
    SourceForbidden("The storage denied access"),
    StorageError("The storage responded with 503 to PUT"),
], ids=["full", "permission revoked", "unavailable"])  # fmt: skip
@pytest.mark.parametrize("operation", ["upload_part", "upload_part_copy", "read_into"])
@pytest.mark.parametrize("file_sizes", [[95] * 40, [3000] * 6], ids=["small files", "large files"])
def test_a_build_ends_with_the_error_of_the_storage_within_two_seconds(
    error: DownloadError, operation: str, file_sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Memory for one part: the thread that takes the next read waits for the one that fails.
    monkeypatch.setattr("worker.archive.composing.transfers.MAX_BUFFER_BYTES", 200)
    catalog = SmallCatalog(file_sizes)
    called = threading.Event()

    def fail(name: str) -> None:
        if name == operation and catalog.storage.calls.count(name) > 3:
            called.set()
            time.sleep(0.05)
            raise error

    catalog.storage.hook = fail
    before = threading.active_count()
    started = time.monotonic()
    raised = None
    try:
        catalog.run()
    except DownloadError as caught:
        raised = caught
    assert raised is (error if called.is_set() else None)
    assert time.monotonic() - started < 2
    assert threading.active_count() <= before
