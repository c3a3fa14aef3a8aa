"""A storage whose server sends prepared responses."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from common.object_storage import ObjectStorage
from tests.support.scripted_server import ScriptedServer


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    server = ScriptedServer()
    yield server
    server.close()


@pytest.fixture
def storage(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStorage]:
    monkeypatch.setattr("common.object_storage.retries.BASE_DELAY", 0.001)
    storage = ObjectStorage(endpoint=server.url, region="r", access_key="a", secret_key="b")
    yield storage
    storage.close()
