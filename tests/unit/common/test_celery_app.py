"""How the workers look for a broker that is away."""

from __future__ import annotations

import pytest
from kombu.exceptions import OperationalError

from common.celery_app import celery_app


def test_a_worker_looks_for_its_broker_every_two_seconds_however_long_it_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("kombu.utils.functional.sleep", lambda _: None)
    pauses: list[float] = []
    # Nobody listens on the port of the discard service.
    with (
        celery_app("redis://127.0.0.1:9/0").connection_for_read() as connection,
        pytest.raises(OperationalError),
    ):
        connection.ensure_connection(lambda _, pause: pauses.append(pause), 30)
    assert len(pauses) == 30
    assert max(pauses) == 2
