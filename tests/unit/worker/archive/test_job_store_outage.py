"""An outage of the job store costs a running attempt time, but does not make it fail."""

from __future__ import annotations

from typing import Any

import fakeredis
import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from common.errors import ResumableDeadline
from common.job_store.checkpoints import Checkpoints
from tests.unit.worker.archive.test_deadline import Attempt
from worker.attempt.control import AttemptControl

pytestmark = pytest.mark.usefixtures("narrow")


@pytest.fixture
def attempt(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> Attempt:
    return Attempt(redis, monkeypatch)


def fail_to_hold(
    attempt: Attempt, errors: list[RedisError], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Raise the errors, one after the other, before the archive can be held."""
    references = attempt.archives._references
    hold = references.hold

    def hold_later(*args: Any, **options: Any) -> bool:
        if errors:
            raise errors.pop(0)
        return hold(*args, **options)

    monkeypatch.setattr(references, "hold", hold_later)


def test_an_attempt_waits_for_the_job_store(
    attempt: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = [RedisConnectionError("gone"), RedisTimeoutError("slow"), ReadOnlyError("demoted")]
    fail_to_hold(attempt, errors, monkeypatch)
    assert attempt.run(parts=None).size
    assert errors == []


def test_a_mistake_is_not_an_outage(attempt: Attempt, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_to_hold(attempt, [ResponseError("WRONGTYPE Operation against a key")], monkeypatch)
    with pytest.raises(ResponseError):
        attempt.run(parts=None)


def test_an_outage_does_not_count_toward_the_deadline(
    attempt: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0

    def hold_after_an_outage(*_: Any, **__: Any) -> bool:
        nonlocal now
        now += 200.0
        if now < 1_000:
            raise RedisConnectionError("gone")
        return True

    monkeypatch.setattr(attempt.archives._references, "hold", hold_after_an_outage)
    control = AttemptControl(deadline=300, clock=lambda: now)
    assert attempt.archives.build(attempt.claim, control).size


def test_parts_whose_log_is_not_stored_are_progress_at_the_deadline(
    attempt: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = fakeredis.FakeServer()
    server.connected = False
    unavailable = fakeredis.FakeRedis(decode_responses=True, server=server)
    monkeypatch.setattr(attempt.archives, "_checkpoints", Checkpoints(unavailable))
    with pytest.raises(ResumableDeadline):
        attempt.run(parts=4)
