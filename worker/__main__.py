"""``python -m worker``: a Celery worker with a pool of threads, which suits work that waits."""

from __future__ import annotations

import os

from common.celery_app import QUEUES
from worker.app import app, settings


def main() -> None:
    # The command line knows Celery's own pools by name, others only by this setting.
    app.conf.worker_pool = "worker.thread_pool:NotifyingThreadPool"
    app.worker_main(
        [
            "--quiet",
            "worker",
            *("--concurrency", str(settings.worker_concurrency)),
            *("--queues", ",".join(QUEUES), "--loglevel", settings.log_level),
            # Two workers of one machine must not share a name, or Flower takes them for one.
            *("--hostname", f"longhaul-{os.getpid()}@%h"),
            *("--without-gossip", "--without-mingle"),
        ]
    )


if __name__ == "__main__":
    main()
