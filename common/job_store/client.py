"""A client of the job store that gives up in time: of one server, by Sentinels, or of a cluster."""

from __future__ import annotations

from typing import Any, Final, cast

from redis import BlockingConnectionPool, ConnectionPool, Redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.cluster import ClusterNode
from redis.driver_info import DriverInfo
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisClusterException
from redis.retry import Retry
from redis.sentinel import Sentinel

from common import redis_url
from common.job_store.cluster import Cluster
from common.redis_url import RedisTarget

Options = dict[str, Any]

# Left alone, each connection finds its library's version out anew from the files of its package:
# half of the time that opening one takes.
_DRIVER: Final = DriverInfo()


def open_client(
    url: str, *, timeout: float, own_connection: bool = False, decode: bool = True
) -> Redis:
    """A client whose calls give up after about ``timeout`` seconds.

    ``own_connection`` holds one single connection, to each node of a cluster, for as long as the
    client lives. redis-py's own defaults wait for most of a minute on a server that hangs. For the
    forms of ``url`` see common/redis_url.py.

    A cluster's client is no ``Redis`` by class, but by what the job store asks of it. It alone
    connects here already: raises ``RedisError`` when none of its nodes answers.
    """
    place = redis_url.parse(url)
    retries = max(0, round(timeout / 3) - 1) if timeout > 3 else 0
    limits: Options = {
        "socket_timeout": min(3.0, timeout),
        "socket_connect_timeout": min(2.0, timeout),
        "health_check_interval": 10,
    }
    options: Options = {
        **limits,
        "decode_responses": decode,
        "retry": Retry(ExponentialWithJitterBackoff(cap=1, base=0.1), retries),
    }
    if own_connection:
        # Not single_connection_client: that one connects now, and a worker has to start while the
        # store is away. A pool that never holds a second connection connects when it is used.
        options["max_connections"] = 1
    if place.kind == "cluster":
        return cast("Redis", _cluster(place, options))
    options["driver_info"] = _DRIVER
    if place.kind == "sentinel":
        return _by_sentinels(place, limits, options)
    if own_connection:
        return Redis.from_pool(BlockingConnectionPool.from_url(url, timeout=timeout, **options))
    return Redis.from_pool(ConnectionPool.from_url(url, **options))


def _by_sentinels(place: RedisTarget, limits: Options, options: Options) -> Redis:
    to_sentinels = {**limits, "password": place.sentinel_password, "ssl": place.tls}
    sentinel = Sentinel(list(place.hosts), sentinel_kwargs=to_sentinels)
    client: Redis = sentinel.master_for(
        place.service, db=place.db, **_credentials(place), **options
    )
    return client


def _cluster(place: RedisTarget, options: Options) -> Cluster:
    nodes = [ClusterNode(host, port) for host, port in place.hosts]
    try:
        return Cluster(startup_nodes=nodes, **_credentials(place), **options)
    except RedisClusterException as error:
        raise RedisConnectionError(str(error)) from error


def _credentials(place: RedisTarget) -> Options:
    return {"username": place.username, "password": place.password, "ssl": place.tls}
