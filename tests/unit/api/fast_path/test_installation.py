"""The fast path is part of the application under the settings of real deployments."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from redis import Redis

from api.app import build_live_updates, create_app
from api.fast_path.initiate import InitiateFastPath
from api.fast_path.status import StatusFastPath
from common.bootstrap import assemble
from common.settings import Settings
from tests.unit.api.conftest import FakeStorage
from tests.unit.api.fast_path.conftest import JWT, Spans


def wsgi_app(redis: Redis, storage: FakeStorage, *, live: bool, **changes: Any) -> Any:
    settings = dataclasses.replace(Settings(), **changes)
    services = assemble(settings, redis, storage)
    return create_app(services, live=build_live_updates(services) if live else None).wsgi_app


@pytest.mark.parametrize("settings", [{}, {"cors_origins": "*"}, JWT])
def test_fast_path_is_installed_with_cors_jwt_and_tracing(
    redis: Redis, storage: FakeStorage, spans: Spans, settings: dict[str, Any]
) -> None:
    application = wsgi_app(redis, storage, live=True, **settings)
    assert isinstance(application, StatusFastPath)
    assert isinstance(application._application, InitiateFastPath)


def test_fast_path_is_not_installed_without_live_updates(
    redis: Redis, storage: FakeStorage
) -> None:
    assert not isinstance(wsgi_app(redis, storage, live=False), StatusFastPath)
