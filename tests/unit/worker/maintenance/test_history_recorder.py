"""What the history recorder does besides recording: it migrates, and deletes old jobs."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from unittest.mock import Mock

import pytest
from sqlalchemy.exc import OperationalError

from common.history import HistoryWriter
from common.history.writer import DELETE_BATCH
from worker.liveness import Liveness
from worker.maintenance.history_recorder import HistoryRecorder

TIMEOUT = OperationalError("DELETE", {}, Exception("statement timeout"))


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    module = "worker.maintenance.history_recorder"
    monkeypatch.setattr(f"{module}.time", Mock(monotonic=clock))
    monkeypatch.setattr(f"{module}.random", Mock(random=lambda: 0.0))
    return clock


def recorder_with(
    writer: Mock,
    *,
    migrate: Callable[[], None] = lambda: None,
    on_round: Callable[[], object] = lambda: None,
    on_migration: Callable[[], object] = lambda: None,
    can_block: bool = True,
) -> HistoryRecorder:
    """Return a recorder that finds nothing to record."""
    state_log = Mock(
        read=Mock(return_value=[]), claim_idle=Mock(return_value=[]), can_block=can_block
    )
    downloads = Mock(read=Mock(return_value=[]))
    return HistoryRecorder(
        state_log,
        downloads,
        writer,
        Mock(),
        migrate=migrate,
        retention=timedelta(days=1),
        on_round=on_round,
        on_migration=on_migration,
    )


def counts(writer: Mock) -> list[int]:
    return [call.kwargs["limit"] for call in writer.delete_old.call_args_list]


def test_a_worker_that_migrates_or_waits_for_a_migration_is_not_stuck(clock: Clock) -> None:
    liveness = Liveness(clock)
    during: list[tuple[str, ...]] = []

    def migrate() -> None:
        clock.now += 36_000
        during.append(liveness.stuck())

    recorder = recorder_with(
        Mock(delete_old=Mock(return_value=0)),
        migrate=migrate,
        on_round=liveness.reporter("recorder", within=900),
        on_migration=partial(liveness.pause, "recorder"),
    )
    liveness.report("recorder", within=900)
    recorder.step()
    assert during == [()]
    clock.now += 901
    assert liveness.stuck() == ("recorder",)


def test_a_recorder_pauses_where_the_state_log_cannot_wait_for_entries() -> None:
    # As on a cluster, where reading again immediately would use a whole processor.
    rounds = Mock()
    recorder = recorder_with(
        Mock(delete_old=Mock(return_value=0)), on_round=rounds, can_block=False
    )
    recorder.start()
    time.sleep(0.3)
    recorder.stop()
    # The first one, and another one after the migration.
    assert rounds.call_count == 2


def test_a_deletion_that_fails_is_not_repeated_in_the_next_step(clock: Clock) -> None:
    writer = Mock(delete_old=Mock(side_effect=TIMEOUT))
    recorder = recorder_with(writer)
    with pytest.raises(OperationalError):
        recorder.step()
    recorder.step()
    assert counts(writer) == [DELETE_BATCH]
    clock.now += 61
    with pytest.raises(OperationalError):
        recorder.step()
    assert counts(writer) == [DELETE_BATCH, DELETE_BATCH // 2]


def test_deletions_get_larger_again_after_a_failure(clock: Clock) -> None:
    outcomes: list[int | OperationalError] = [TIMEOUT, TIMEOUT, 250, 500, 1_000, 3]
    results = iter(outcomes)

    def delete_old(_: timedelta, *, limit: int) -> int:
        result = next(results)
        if isinstance(result, OperationalError):
            raise result
        assert result <= limit
        return result

    writer = Mock(delete_old=Mock(side_effect=delete_old))
    recorder = recorder_with(writer)
    for _ in range(2):
        with pytest.raises(OperationalError):
            recorder.step()
        clock.now += 61
    for _ in range(4):
        recorder.step()
    assert counts(writer) == [1_000, 500, 250, 500, 1_000, 1_000]
    recorder.step()
    assert len(counts(writer)) == 6


@pytest.mark.parametrize("seconds", [0, -1])
def test_the_writer_never_deletes_jobs_of_now_or_later(seconds: int) -> None:
    engine = Mock()
    with pytest.raises(ValueError, match="older_than must be positive"):
        HistoryWriter(engine).delete_old(timedelta(seconds=seconds))
    engine.begin.assert_not_called()
