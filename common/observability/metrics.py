"""Metrics that the API and the workers share; docs/observability.md explains all of them."""

from __future__ import annotations

from typing import Final

from prometheus_client import Histogram

STORE_SECONDS: Final = Histogram(
    "longhaul_job_store_seconds",
    "Duration of scripts in the job store, by script",
    ["verb"],
    buckets=(0.0002, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 1, 3),
)
STORAGE_SECONDS: Final = Histogram(
    "longhaul_object_storage_seconds",
    "Time until the object storage responds, by operation and status",
    ["operation", "status"],
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
