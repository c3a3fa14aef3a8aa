from __future__ import annotations

import pytest

from tests.small_world import WIDTH


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few threads and little memory, so that small files meet what large ones do."""
    monkeypatch.setattr("worker.archive.copying.WIDTH", WIDTH)
    monkeypatch.setattr("worker.archive.writing.WIDTH", WIDTH)
    monkeypatch.setattr("worker.archive.writing.MEMORY", 1000)
    monkeypatch.setattr("worker.sources.s3.HEADS", WIDTH)
