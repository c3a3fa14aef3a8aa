from __future__ import annotations

import pytest

from tests.support.small_catalog import CONCURRENCY


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limit threads and memory, so that small files behave like large ones."""
    monkeypatch.setattr("worker.archive.composing.transfers.MAX_COPIES", CONCURRENCY)
    monkeypatch.setattr("worker.archive.composing.transfers.MAX_READS_AND_UPLOADS", CONCURRENCY)
    monkeypatch.setattr("worker.archive.composing.transfers.MAX_BUFFER_BYTES", 1000)
    monkeypatch.setattr("worker.archive.composing.unbuffered_part.MIN_SPAN_SIZE", 60)
    monkeypatch.setattr("worker.archive.composing.unbuffered_part.BLOCK_SIZE", 64)
    monkeypatch.setattr("common.sources.s3.MAX_CONCURRENT_HEADS", CONCURRENCY)
