"""Opens clients of the job store with timeouts: one server, Sentinels or a cluster."""

from __future__ import annotations

import threading
import time
import weakref
from typing import Any, Final, cast

import structlog
from redis import BlockingConnectionPool, ConnectionPool, Redis
from redis.backoff import ExponentialWithJitterBackoff, NoBackoff
from redis.cluster import ClusterNode
from redis.driver_info import DriverInfo
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisClusterException, RedisError
from redis.retry import Retry
from redis.sentinel import Sentinel

from common import redis_url
from common.job_store.cluster import Cluster
from common.job_store.connections import (
    WritableConnection,
    WritableSentinelConnection,
    WritableSentinelSSLConnection,
    WritableSSLConnection,
)
from common.redis_url import RedisTarget

Options = dict[str, Any]

# By default each connection reads the library's version from the files of its package, which takes
# half of the time for opening it.
_DRIVER: Final = DriverInfo()
#: Seconds between two requests to the Sentinels for the address of the primary.
PRIMARY_WATCH_INTERVAL: Final = 0.5

log = structlog.get_logger(__name__)


def open_client(
    url: str, *, timeout: float, own_connection: bool = False, retries: int | None = None
) -> Redis:
    """Return a client whose calls fail after about ``timeout`` seconds.

    redis-py's defaults wait for most of a minute for a server that hangs. ``own_connection`` limits
    the client to a single connection (to each node of a cluster) that it keeps. ``retries``: how
    often a call is repeated within ``timeout``; by default every three seconds. For the forms of
    ``url`` see common/redis_url.py.

    The client of a cluster is not a ``Redis`` by class but has the methods that the job store uses.
    It connects immediately and raises ``RedisError`` when no node responds; the others connect on
    first use.
    """
    target = redis_url.parse(url)
    call_timeout = min(3.0, timeout) if retries is None else timeout / (retries + 1)
    if retries is None:
        retries = max(0, round(timeout / 3) - 1)
    timeouts: Options = {
        "socket_timeout": call_timeout,
        "socket_connect_timeout": min(2.0, timeout),
        "health_check_interval": 10,
    }
    options: Options = {
        **timeouts,
        "decode_responses": True,
        "retry": Retry(ExponentialWithJitterBackoff(cap=1, base=0.1), retries),
    }
    if own_connection:
        # Not single_connection_client: it connects immediately, but a worker has to start while the
        # store is unavailable. A pool of one connection connects on first use.
        options["max_connections"] = 1
    if target.kind == "cluster":
        return cast("Redis", _open_cluster(target, options))
    options["driver_info"] = _DRIVER
    if target.kind == "sentinel":
        return _open_by_sentinels(target, timeouts, options)
    options["connection_class"] = WritableSSLConnection if target.tls else WritableConnection
    if own_connection:
        return Redis.from_pool(BlockingConnectionPool.from_url(url, timeout=timeout, **options))
    return Redis.from_pool(ConnectionPool.from_url(url, **options))


def _open_by_sentinels(target: RedisTarget, timeouts: Options, options: Options) -> Redis:
    sentinel = Sentinel([])
    sentinel.sentinels = [
        _sentinel_client(target, host, port, timeouts) for host, port in target.hosts
    ]
    client: Redis = sentinel.master_for(
        target.service,
        db=target.db,
        connection_class=WritableSentinelSSLConnection
        if target.tls
        else WritableSentinelConnection,
        **_credentials(target),
        **options,
    )
    threading.Thread(
        target=_watch_primary,
        args=(weakref.ref(client.connection_pool),),
        name="primary watch",
        daemon=True,
    ).start()
    return client


def _sentinel_client(target: RedisTarget, host: str, port: int, timeouts: Options) -> Redis:
    """Return a client of one Sentinel that asks once: another Sentinel may respond instead."""
    return Redis.from_pool(
        ConnectionPool(
            connection_class=WritableSSLConnection if target.tls else WritableConnection,
            host=host,
            port=port,
            password=target.sentinel_password,
            decode_responses=True,
            retry=Retry(NoBackoff(), 0),
            **timeouts,
        )
    )


def _watch_primary(reference: weakref.ref[Any]) -> None:
    """Ask the Sentinels for the primary as long as the pool exists.

    After ``SENTINEL FAILOVER`` the old primary accepts writes for about eleven more seconds, which
    are lost. When the address changes, the pool closes the connections to the old one.
    """
    while pool := reference():
        try:
            pool.get_master_address()
        except (RedisError, OSError):
            pass  # Calls report the error while the Sentinels do not respond.
        except Exception:
            log.exception("asking the Sentinels raised an unexpected error")
        del pool
        time.sleep(PRIMARY_WATCH_INTERVAL)


def _open_cluster(target: RedisTarget, options: Options) -> Cluster:
    nodes = [ClusterNode(host, port) for host, port in target.hosts]
    try:
        return Cluster(startup_nodes=nodes, **_credentials(target), **options)
    except RedisClusterException as error:
        raise RedisConnectionError(str(error)) from error


def _credentials(target: RedisTarget) -> Options:
    return {"username": target.username, "password": target.password, "ssl": target.tls}
