"""``python -m worker.healthcheck``: the health check of a worker's container.

The exit code is 0 if a worker of this host is registered and none of its loops (Celery's consumer,
the sweeper, the recorder) is stuck. Otherwise it is 1, also when the job store is unavailable. A
worker survives such an outage, so a probe that restarts containers should wait for minutes.
"""

from __future__ import annotations

import socket
import sys

from redis.exceptions import RedisError

from common.job_store.client import open_client
from common.job_store.errors import describe
from common.job_store.worker_registry import WorkerRegistry
from common.settings import Settings


def main() -> int:
    try:
        client = open_client(Settings.from_env().redis_url, timeout=2.0)
        registered = WorkerRegistry(client).registered()
    except RedisError as error:
        print(f"Job store unavailable: {describe(error)}", file=sys.stderr)
        return 1
    host = socket.gethostname()
    workers = [worker for worker in registered if worker.host == host]
    if not workers:
        print(
            f"No worker of host {host} is registered in the job store. Check the worker's log.",
            file=sys.stderr,
        )
    for worker in workers:
        if worker.stuck:
            print(f"{worker.name} is stuck: {', '.join(worker.stuck)}", file=sys.stderr)
    return 0 if workers and not any(worker.stuck for worker in workers) else 1


if __name__ == "__main__":
    sys.exit(main())
