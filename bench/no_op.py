"""Jobs without an archive, to measure what a job costs apart from it.

``worker`` runs a real worker that appends to the list ``bench:latency`` when each job was accepted
and started (nanoseconds of CLOCK_MONOTONIC). ``enqueue N RATE`` creates N jobs of a thousand users
as the API does, RATE per second; 0: as fast as possible.
"""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

from common.celery_app import celery_app
from common.job_store.client import open_client
from common.job_store.jobs import JobStore, Limits
from common.jobs.model import Artifact, JobSpec
from common.wake_ups import Dispatcher

if TYPE_CHECKING:
    from common.job_store.jobs import Claim
    from worker.archive_builder import ArchiveBuilder
    from worker.attempt.control import Control

ARTIFACT = Artifact(bucket="b", key="k", name="n.zip", size=1, content_type="application/zip")
USERS = 1_000


def work() -> None:
    """Run a worker until it is stopped."""
    from worker import archive_builder, lifecycle

    notes = open_client(os.environ["REDIS_URL"], timeout=10)

    class NoArchives(archive_builder.ArchiveBuilder):
        def prepare(self) -> None:  # type: ignore[override]
            return

        def build(self: ArchiveBuilder, claim: Claim, control: Control) -> Artifact:  # noqa: ARG002
            started = time.monotonic_ns()
            notes.rpush("bench:latency", f"{claim.job.metadata['t']} {started}")
            return ARTIFACT

    vars(lifecycle)["ArchiveBuilder"] = NoArchives
    from worker.__main__ import main

    main()


def enqueue(number: int, rate: float) -> None:
    """Create ``number`` jobs, each another request."""
    url = os.environ["REDIS_URL"]
    dispatcher = Dispatcher(celery_app(url), same_server=True)
    jobs = JobStore(open_client(url, timeout=10), dispatcher, Limits(max_active=10**6))
    began = time.monotonic()
    for index in range(number):
        if rate:
            time.sleep(max(0.0, began + index / rate - time.monotonic()))
        spec = JobSpec(file_ids=(index + 1,), metadata={"t": str(time.monotonic_ns())})
        jobs.create(f"user-{index % USERS}", spec)


if __name__ == "__main__":
    if sys.argv[1] == "worker":
        work()
    else:
        enqueue(int(sys.argv[2]), float(sys.argv[3]))
