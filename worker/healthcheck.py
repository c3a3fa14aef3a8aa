"""``python -m worker.healthcheck``: whether this host's worker is heard of, for container probes.

Exit code 0 if so, 1 if not. A job store that does not answer counts as not: give a probe that
restarts containers a patience of minutes, for a worker outlives an outage of the store.
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
        heard_of = [worker.name for worker in WorkerRegistry(client).registered()]
    except RedisError as error:
        print(f"the job store does not answer: {error}", file=sys.stderr)
        return 1
    host = socket.gethostname()
    return 0 if any(name.startswith(f"{host}-") for name in heard_of) else 1


if __name__ == "__main__":
    sys.exit(main())
