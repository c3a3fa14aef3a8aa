"""The pub/sub reader on a cluster: one ``EventFeed`` for each node, of the jobs that it holds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from common.store import keys
from common.store.cluster import Cluster
from common.store.feed import EventFeed

if TYPE_CHECKING:
    from redis import Redis


def open_feed(client: Redis) -> EventFeed | ClusterFeed:
    """What reads the events of the store behind ``client``."""
    return ClusterFeed(client) if isinstance(client, Cluster) else EventFeed(client)


class ClusterFeed:
    """Watches jobs wherever they are; when one node is lost, all begin anew.

    Used like an ``EventFeed``, but received from and flushed by its ``lines``.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        #: By the tag of the partition; empty while there is no connection.
        self._feeds: dict[str, EventFeed] = {}

    @property
    def lines(self) -> Sequence[EventFeed]:
        return list(dict.fromkeys(self._feeds.values()))

    @property
    def connected(self) -> bool:
        return bool(self._feeds)

    def connect(self) -> None:
        """Open a connection to every node. Raises ``RedisError`` or ``OSError``."""
        self.close()
        self._cluster.refresh()
        nodes: dict[Redis, EventFeed] = {}
        feeds: dict[str, EventFeed] = {}
        with ExitStack() as undo:
            for tag in keys.all_tags():
                node = self._cluster.node_of(tag)
                if node not in nodes:
                    nodes[node] = EventFeed(node)
                    undo.callback(nodes[node].close)
                    nodes[node].connect()
                feeds[tag] = nodes[node]
            undo.pop_all()
        self._feeds = feeds

    def close(self) -> None:
        for feed in self.lines:
            feed.close()
        self._feeds = {}

    def watch(self, job_ids: Iterable[str]) -> None:
        for feed, ids in self._by_feed(job_ids):
            feed.watch(ids)

    def read(self, job_ids: Iterable[str]) -> None:
        for feed, ids in self._by_feed(job_ids):
            feed.read(ids)

    def unwatch(self, job_ids: Iterable[str]) -> None:
        for feed, ids in self._by_feed(job_ids):
            feed.unwatch(ids)

    def check(self) -> None:
        for feed in self.lines:
            feed.check()

    def _by_feed(self, job_ids: Iterable[str]) -> Iterator[tuple[EventFeed, list[str]]]:
        groups: dict[EventFeed, list[str]] = defaultdict(list)
        for job_id in job_ids:
            groups[self._feeds[keys.tag_of_job(job_id)]].append(job_id)
        yield from groups.items()
