"""Metrics that are read for each scrape."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from prometheus_client.metrics_core import Metric
from redis.exceptions import ConnectionError as RedisConnectionError

from api.collectors import (
    DependencyMetrics,
    QueueMetrics,
    SettingMetrics,
    StoreCollector,
    bucket,
    servers,
)
from common.job_store.bucket_size import BucketSize
from common.job_store.circuit_breaker_states import CircuitBreakerState
from common.job_store.queue_statistics import QueueState
from common.job_store.server_state import ServerState


def values(metrics: Iterable[Metric]) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *sample.labels.values()): sample.value
        for metric in metrics
        for sample in metric.samples
    }


def queue_state(**changes: Any) -> QueueState:
    state: dict[str, Any] = {
        "waiting": {"high": 1, "normal": 20, "low": 300},
        "oldest": {"high": 1.0, "normal": 2.0, "low": None},
        "processing": 7,
        "started": 0,
        "retrying": 0,
        "completed": 0,
        "failed": 0,
        "cancelled": 0,
        "dead_letters": 0,
        "paused": False,
        "workers": 2,
        "slots": 8,
        "busy": 7,
        "durations": (),
    }
    return QueueState(**{**state, **changes})


@pytest.mark.parametrize(
    ("paused", "breaker", "demand"),
    [
        (False, "closed", 328),
        (True, "closed", 7),
        (False, "open", 7),
        (False, "half-open", 7),
    ],
)
def test_waiting_jobs_need_workers_only_if_they_may_start(
    paused: bool, breaker: CircuitBreakerState, demand: int
) -> None:
    collector = QueueMetrics(
        lambda: queue_state(paused=paused), lambda: {"storage": breaker, "files.example": "closed"}
    )
    found = values(collector.collect())
    assert found["longhaul_worker_demand",] == demand
    levels = {"closed": 0, "half-open": 1, "open": 2}
    assert found["longhaul_circuit_breaker_state", "storage"] == levels[breaker]
    assert found["longhaul_circuit_breaker_state", "files.example"] == 0


def test_dependencies_that_are_turned_off_are_not_reported() -> None:
    checks = {"redis": "ok", "storage": "timeout", "history": "off"}
    assert values(DependencyMetrics(lambda: checks).collect()) == {
        ("longhaul_dependency_up", "redis"): 1,
        ("longhaul_dependency_up", "storage"): 0,
    }


def test_thresholds_are_reported_by_the_name_of_the_setting() -> None:
    collector = SettingMetrics({"QUEUE_MAX": 10_000}, processes=4)
    assert values(collector.collect()) == {
        ("longhaul_alert_threshold", "QUEUE_MAX"): 10_000,
        ("longhaul_api_processes_expected",): 4,
    }


def test_metrics_that_cannot_be_read_do_not_fail_the_others() -> None:
    def unavailable() -> Iterable[Metric]:
        raise RedisConnectionError("gone")

    assert list(StoreCollector("anything", unavailable).collect()) == []


def test_every_server_of_a_cluster_is_reported() -> None:
    states = [
        ServerState(name=name, memory=1, memory_limit=2, connections=3, connection_limit=4)
        for name in ("a:6379", "b:6379")
    ]
    found = values(servers(states))
    assert found["longhaul_job_store_memory_bytes", "b:6379"] == 1
    assert found["longhaul_job_store_connections_limit", "a:6379"] == 4
    assert len(found) == 8


def test_the_bucket_is_reported_once_it_was_measured() -> None:
    assert list(bucket(None)) == []
    assert values(bucket(BucketSize(objects=2, bytes=30, complete=True))) == {
        ("longhaul_archive_bucket_bytes",): 30,
        ("longhaul_archive_bucket_objects",): 2,
    }
