"""The timer that keeps leases alive and shows that its process lives."""

from __future__ import annotations

import threading

from common.job_store.jobs import JobStore
from worker.attempt.heartbeat import HeartbeatThread


def test_a_worker_shows_that_it_lives_as_soon_as_it_starts(jobs: JobStore) -> None:
    shown = threading.Event()
    heartbeat = HeartbeatThread(jobs, interval=3600, on_heartbeat=shown.set)
    heartbeat.start()
    assert shown.wait(5)
    heartbeat.stop()
