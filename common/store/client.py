"""A client of the job store that gives up in time."""

from __future__ import annotations

from redis import BlockingConnectionPool, ConnectionPool, Redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.retry import Retry


def open_client(
    url: str, *, patience: float, own_connection: bool = False, decode: bool = True
) -> Redis:
    """A client whose calls give up after about ``patience`` seconds.

    ``own_connection`` holds one single connection for as long as the client lives.
    redis-py's own defaults wait for most of a minute on a server that hangs.
    """
    retries = max(0, round(patience / 3) - 1) if patience > 3 else 0
    # Not single_connection_client: that one connects now, and a worker has to start while the store
    # is away. A pool that never holds a second connection connects when it is used.
    limit = {"max_connections": 1, "timeout": patience} if own_connection else {}
    pool = BlockingConnectionPool if own_connection else ConnectionPool
    return Redis.from_pool(
        pool.from_url(
            url,
            decode_responses=decode,
            socket_timeout=min(3.0, patience),
            socket_connect_timeout=min(2.0, patience),
            health_check_interval=10,
            retry=Retry(ExponentialWithJitterBackoff(cap=1, base=0.1), retries),
            **limit,
        )
    )
