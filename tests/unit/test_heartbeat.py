"""The timer that keeps leases alive and shows that its process lives."""

from __future__ import annotations

import threading

from common.store.jobs import JobStore
from worker.heartbeat import Heart


def test_a_worker_shows_that_it_lives_as_soon_as_it_starts(jobs: JobStore) -> None:
    shown = threading.Event()
    heart = Heart(jobs, interval=3600, alive=shown.set)
    heart.start()
    assert shown.wait(5)
    heart.stop()
