"""``python -m worker``: a Celery worker with a thread pool, which suits I/O-bound work."""

from __future__ import annotations

import os

from common.celery_app import QUEUES
from worker.app import app, settings


def main() -> None:
    # The command line accepts only Celery's own pools.
    app.conf.worker_pool = "worker.thread_pool:NotifyingThreadPool"
    app.worker_main(
        [
            "--quiet",
            "worker",
            *("--concurrency", str(settings.worker_concurrency)),
            *("--queues", ",".join(QUEUES), "--loglevel", settings.log_level),
            # Flower confuses workers that share a name.
            *("--hostname", f"longhaul-{os.getpid()}@%h"),
            *("--without-gossip", "--without-mingle"),
        ]
    )


if __name__ == "__main__":
    main()
