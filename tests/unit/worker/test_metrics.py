"""Metrics of a worker that has just started."""

from __future__ import annotations

from prometheus_client import REGISTRY

from worker import metrics


def test_the_rate_of_successes_exists_before_the_first_success() -> None:
    metrics._ATTEMPTS.clear()
    metrics.serve("127.0.0.1", 0, slots=1, running_jobs=lambda: ())
    labels = {"outcome": "completed", "code": ""}
    assert REGISTRY.get_sample_value("longhaul_attempts_total", labels) == 0.0
