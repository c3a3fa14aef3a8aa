from __future__ import annotations

import pytest

from tests.support.small_catalog import WIDTH


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limit threads and memory, so that small files behave like large ones."""
    monkeypatch.setattr("worker.archive.composing.copying.WIDTH", WIDTH)
    monkeypatch.setattr("worker.archive.composing.writing.WIDTH", WIDTH)
    monkeypatch.setattr("worker.archive.composing.writing.MEMORY", 1000)
    monkeypatch.setattr("common.sources.s3.MAX_CONCURRENT_HEADS", WIDTH)
