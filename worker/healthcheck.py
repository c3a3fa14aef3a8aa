"""``python -m worker.healthcheck``: the health check of a worker's container.

The exit code is 0 if a worker of this host is registered, else 1, also when the job store is
unavailable. A worker survives such an outage, so a probe that restarts containers should wait for
minutes.
"""

from __future__ import annotations

import socket
import sys

from redis.exceptions import RedisError

from common.job_store.client import open_client
from common.job_store.worker_registry import WorkerRegistry
from common.settings import Settings


def main() -> int:
    try:
        client = open_client(Settings.from_env().redis_url, timeout=2.0)
        names = [worker.name for worker in WorkerRegistry(client).registered()]
    except RedisError as error:
        print(f"Job store unavailable: {error}", file=sys.stderr)
        return 1
    host = socket.gethostname()
    return 0 if any(name.startswith(f"{host}-") for name in names) else 1


if __name__ == "__main__":
    sys.exit(main())
