from __future__ import annotations

import pytest

from tests.support.small_catalog import WIDTH


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few threads and little memory, so that small files meet what large ones do."""
    monkeypatch.setattr("worker.archive.composing.copying.WIDTH", WIDTH)
    monkeypatch.setattr("worker.archive.composing.writing.WIDTH", WIDTH)
    monkeypatch.setattr("worker.archive.composing.writing.MEMORY", 1000)
    monkeypatch.setattr("common.sources.s3.MAX_CONCURRENT_HEADS", WIDTH)
