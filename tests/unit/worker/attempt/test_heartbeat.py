"""The thread that extends leases and registers its process."""

from __future__ import annotations

import threading

from common.job_store.jobs import JobStore
from worker.attempt.heartbeat import HeartbeatThread


def test_the_first_heartbeat_is_sent_immediately(jobs: JobStore) -> None:
    sent = threading.Event()
    heartbeat = HeartbeatThread(jobs, interval=3600, on_heartbeat=sent.set)
    heartbeat.start()
    assert sent.wait(5)
    heartbeat.stop()
