"""The capacity model: its arithmetic, and the table that docs/capacity.md shows."""

from __future__ import annotations

import pytest

from bench import capacity
from bench.capacity import Needs, Workload, table
from common.settings import Settings
from tests.contracts.deployment import ROOT

PAGE = (ROOT / "docs" / "capacity.md").read_text()


def needs(per_hour: int, **changes: float) -> Needs:
    return Needs(
        workload=Workload(per_hour=per_hour),
        settings=Settings(**changes),  # type: ignore[arg-type]
    )


def test_the_page_shows_what_the_model_computes_for_the_default_settings() -> None:
    assert table([needs(rate) for rate in capacity.RATES]) in PAGE


def test_the_costs_are_those_that_the_page_states() -> None:
    for cost in (
        f"{1 / capacity.API_CREATE:,.0f} per second",
        f"{capacity.API_EVENT * 1000:g} ms of CPU",
        f"{capacity.API_OPEN_STREAM * 1000:g} ms of CPU",
        f"{capacity.VALKEY_JOB * 1000:g} ms of CPU",
        f"{capacity.VALKEY_HEARTBEAT * 1000:g} ms per heartbeat",
        f"{capacity.JOB_OF_TEN_FILES / 1000:g} KB of memory",
        f"{capacity.FURTHER_FILE / 1000:g} KB",
        f"{capacity.STATE_CHANGES / 1000:g} KB",
        f"{capacity.HISTORY_OF_JOB / 1000:g} KB of disk",
        f"{capacity.WORKER_MEMORY / 1e6:g} MB",
        f"up to {capacity.WORKER_TO_VALKEY},",
        f"up to {capacity.API_TO_VALKEY}.",
    ):
        assert cost in PAGE, cost


def test_completed_jobs_take_memory_until_they_have_expired_and_are_forgotten() -> None:
    both = needs(100_000, archive_ttl=86_400, job_ttl=86_400).valkey_memory
    one = needs(100_000, archive_ttl=0, job_ttl=86_400).valkey_memory
    assert both / one == pytest.approx(2, rel=0.001)
    per_job = both / (100_000 * 48)
    assert per_job == pytest.approx(capacity.JOB_OF_TEN_FILES, rel=0.001)


def test_more_slots_need_fewer_processes_and_connections() -> None:
    few, many = needs(100_000, worker_concurrency=4), needs(100_000, worker_concurrency=16)
    assert few.workers == pytest.approx(4 * many.workers, abs=4)
    assert many.postgres_connections <= capacity.MAX_CONNECTIONS < few.postgres_connections
    assert any("PostgreSQL" in text for text in few.limits())
    assert many.limits() == []


def test_a_small_installation_stays_within_all_defaults() -> None:
    small = needs(1_000)
    assert small.limits() == []
    assert (small.workers, small.api_processes) == (3, 2)
