"""Loops that stop making rounds are found, and make the health check of the worker fail."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from unittest.mock import patch

import pytest
from redis import Redis

from common.job_store.worker_registry import WorkerRegistration
from worker import healthcheck
from worker.liveness import Liveness

HOST = socket.gethostname()
Register = Callable[..., None]


def test_a_loop_is_stuck_when_its_next_round_is_overdue() -> None:
    now = 0.0
    liveness = Liveness(clock=lambda: now)
    sweep = liveness.reporter("sweeper", within=10)
    sweep()
    liveness.report("recorder", within=100)
    now = 9.0
    assert liveness.stuck() == ()
    now = 11.0
    assert liveness.stuck() == ("sweeper",)
    sweep()
    assert liveness.stuck() == ()
    now = 200.0
    assert liveness.stuck() == ("recorder", "sweeper")
    liveness.pause("recorder")
    assert liveness.stuck() == ("sweeper",)


@pytest.fixture
def register(redis: Redis) -> Iterator[Register]:
    """Register a worker; its health check uses the same job store."""

    def register(host: str, stuck: tuple[str, ...] = ()) -> None:
        WorkerRegistration(
            redis, f"{host}-1", slots=1, running=lambda: (), host=host, stuck=lambda: stuck
        ).heartbeat()

    with (
        patch.object(healthcheck, "open_client", lambda *_, **__: redis),
        patch("common.job_store.worker_registry._run_id", lambda _: "server"),
        patch.object(redis, "client_id", lambda: 1),
    ):
        yield register


@pytest.mark.parametrize(("stuck", "code"), [((), 0), (("sweeper",), 1)])
def test_the_health_check_fails_while_a_loop_is_stuck(
    register: Register, stuck: tuple[str, ...], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    register(HOST, stuck)
    assert healthcheck.main() == code
    assert ("sweeper" in capsys.readouterr().err) == bool(stuck)


def test_the_health_check_ignores_workers_of_hosts_with_similar_names(
    register: Register, capsys: pytest.CaptureFixture[str]
) -> None:
    register(f"{HOST}-2")
    assert healthcheck.main() == 1
    assert f"No worker of host {HOST} is registered" in capsys.readouterr().err
    register(HOST)
    register(f"{HOST}-3", ("sweeper",))
    assert healthcheck.main() == 0
