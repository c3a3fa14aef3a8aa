"""How workers retry an unavailable broker."""

from __future__ import annotations

import pytest
from kombu.exceptions import OperationalError

from common.celery_app import celery_app


def test_a_worker_retries_an_unavailable_broker_every_two_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("kombu.utils.functional.sleep", lambda _: None)
    pauses: list[float] = []
    # Nothing listens on the port of the discard service.
    with (
        celery_app("redis://127.0.0.1:9/0").connection_for_read() as connection,
        pytest.raises(OperationalError),
    ):
        connection.ensure_connection(lambda _, pause: pauses.append(pause), 30)
    assert len(pauses) == 30
    assert max(pauses) == 2
