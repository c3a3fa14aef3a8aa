"""A client of the job store that gives up in time: of one server, by Sentinels, or of a cluster."""

from __future__ import annotations

from typing import Any, cast

from redis import BlockingConnectionPool, ConnectionPool, Redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.cluster import ClusterNode
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisClusterException
from redis.retry import Retry
from redis.sentinel import Sentinel

from common import redis_url
from common.redis_url import RedisPlace
from common.store import keys
from common.store.cluster import Cluster


def open_client(
    url: str, *, patience: float, own_connection: bool = False, decode: bool = True
) -> Redis:
    """A client whose calls give up after about ``patience`` seconds.

    ``own_connection`` holds one single connection for as long as the client lives; of a cluster it
    is one to the node that knows the workers. redis-py's own defaults wait for most of a minute on
    a server that hangs. For the forms of ``url`` see common/redis_url.py.

    A cluster's client is no ``Redis`` by class, but by what the job store asks of it. It is the
    only one that connects here already. Raises ``RedisError`` when no node answers.
    """
    place = redis_url.parse(url)
    retries = max(0, round(patience / 3) - 1) if patience > 3 else 0
    limits: dict[str, Any] = {
        "socket_timeout": min(3.0, patience),
        "socket_connect_timeout": min(2.0, patience),
        "health_check_interval": 10,
    }
    options = {
        **limits,
        "decode_responses": decode,
        "retry": Retry(ExponentialWithJitterBackoff(cap=1, base=0.1), retries),
    }
    if place.kind == "single":
        return Redis.from_pool(_pool(url, patience, options, own_connection))
    options |= {"username": place.username, "password": place.password, "ssl": place.tls}
    if place.kind == "sentinel":
        return _by_sentinels(place, limits, options, own_connection)
    cluster = _cluster(place, options)
    if not own_connection:
        return cast("Redis", cluster)
    return _alone(cluster.node_of(keys.WORKERS))


def _pool(
    url: str, patience: float, options: dict[str, Any], own_connection: bool
) -> ConnectionPool:
    if not own_connection:
        return ConnectionPool.from_url(url, **options)
    # Not single_connection_client: that one connects now, and a worker has to start while the store
    # is away. A pool that never holds a second connection connects when it is used.
    return BlockingConnectionPool.from_url(url, max_connections=1, timeout=patience, **options)


def _by_sentinels(
    place: RedisPlace, limits: dict[str, Any], options: dict[str, Any], own_connection: bool
) -> Redis:
    to_sentinels = {**limits, "password": place.sentinel_password, "ssl": place.tls}
    sentinel = Sentinel(list(place.hosts), sentinel_kwargs=to_sentinels)
    client: Redis = sentinel.master_for(place.service, db=place.db, **options)
    return _alone(client) if own_connection else client


def _cluster(place: RedisPlace, options: dict[str, Any]) -> Cluster:
    nodes = [ClusterNode(host, port) for host, port in place.hosts]
    try:
        return Cluster(startup_nodes=nodes, **options)
    except RedisClusterException as error:
        raise RedisConnectionError(str(error)) from error


def _alone(client: Redis) -> Redis:
    """A client of the same server by a single connection that nobody else has."""
    return Redis(connection_pool=client.connection_pool, single_connection_client=True)
