"""The state log: a stream of all state changes, read by consumer groups.

Delivery is at least once and in order per job, so readers have to be idempotent by (job id,
version). The attempts to deliver webhooks are entries, too. An entry stays until every group has
acknowledged it; the length is limited, so that a reader that never returns cannot fill the store.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import structlog
from redis.exceptions import ResponseError

from common.job_store import keys
from common.job_store.cluster import Cluster, pipeline_for
from common.job_store.errors import successes
from common.jobs import events
from common.jobs.model import Job

if TYPE_CHECKING:
    from redis import Redis
    from redis.client import Pipeline

    #: Adds a command about a stream to a pipeline.
    _Queue = Callable[[Pipeline, str], object]

#: Entries kept per partition, however far behind a group is.
MAX_ENTRIES: Final = 100_000
#: Bytes kept per partition, however far behind a group is: 128 MiB in all of them.
MAX_BYTES: Final = 8 * 2**20
#: Seconds without a read after which a group that has unread entries is deleted.
GROUP_IDLE_AFTER: Final = 7 * 86_400
#: Milliseconds without a read until a consumer is deleted; it is created again when it reads.
IDLE_AFTER: Final = 3_600_000
#: Entries kept per partition while there is no group.
MAX_ENTRIES_WITHOUT_GROUPS: Final = 1_000
#: What the server responds about a group of a stream, or a stream, that does not exist.
_REMOVED: Final = ("NOGROUP", "no such key", "requires the key to exist")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class StateLogEntry:
    """One state change, or one attempt to deliver its webhook.

    ``stream`` and ``id`` identify the entry for ``ack``.
    """

    stream: str
    id: str
    #: The job as the script wrote it.
    snapshot: str
    #: An attempt to deliver the webhook for this state, as JSON, and the delivery's state after it;
    #: None for a change of the job.
    delivery: str | None = None
    delivery_state: str | None = None

    @cached_property
    def job(self) -> Job:
        return events.decode(self.snapshot)


class StateLog:
    """The state log as one group reads it. Raises ``RedisError`` when the store is unavailable.

    The group is created again when it is missing, as it is after a FLUSHALL or after a restore from
    a backup that is older than the group. It then starts at the oldest entry.
    """

    def __init__(self, client: Redis, group: str, consumer: str) -> None:
        """``group`` is the purpose of reading, ``consumer`` this process."""
        self._client = client
        self._group = group
        self._consumer = consumer
        self._streams = [keys.of_partition("state_log", tag) for tag in keys.all_tags()]

    def create_group(self) -> None:
        """Create the group if it does not exist; a new one starts at the oldest entry.

        A partition with an error is left out, as in the methods that read: they create the group
        where it is missing. Raise the error only if every partition has one.
        """
        results = self._run_in_each(
            lambda pipe, stream: pipe.xgroup_create(stream, self._group, id="0", mkstream=True)
        )
        created = {
            stream: "exists" if "BUSYGROUP" in str(result) else result
            for stream, result in results.items()
        }
        successes(log, "consumer group not created", created)

    @property
    def can_block(self) -> bool:
        """Whether ``read`` can wait; on a cluster no command can, for streams in several slots."""
        return not isinstance(self._client, Cluster)

    def read(self, *, count: int, block: int | None = None) -> list[StateLogEntry]:
        """Return up to ``count`` new entries per partition, after at most ``block`` ms.

        Without ``can_block`` it returns immediately.
        """
        if not self.can_block:
            read = self._responses(
                "state log not read",
                lambda pipe, stream: pipe.xreadgroup(
                    self._group, self._consumer, {stream: ">"}, count=count
                ),
            )
            return [entry for response in read.values() for entry in _all_entries(response)]
        new: Any = dict.fromkeys(self._streams, ">")
        response: Any = self._with_group(
            lambda: self._client.xreadgroup(
                self._group, self._consumer, new, count=count, block=block
            )
        )
        return _all_entries(response)

    def claim_idle(self, *, idle_ms: int, count: int) -> list[StateLogEntry]:
        """Claim entries that another consumer read over ``idle_ms`` ago and did not acknowledge."""
        claimed = self._responses(
            "idle entries not claimed",
            lambda pipe, stream: pipe.xautoclaim(
                stream, self._group, self._consumer, min_idle_time=idle_ms, count=count
            ),
        )
        return [
            entry for stream, response in claimed.items() for entry in _entries(stream, response[1])
        ]

    def _responses(self, event: str, queue: _Queue) -> dict[str, Any]:
        """Return the responses to a command for each stream, without those that are errors."""

        def run() -> dict[str, Any]:
            results = self._run_in_each(queue)
            for result in results.values():
                if isinstance(result, ResponseError) and "NOGROUP" in str(result):
                    raise result
            return successes(log, event, results)

        responses: dict[str, Any] = self._with_group(run)
        return responses

    def _run_in_each(self, queue: _Queue) -> dict[str, Any]:
        """Run a command for each stream; return the results by stream, which may be errors."""
        with self._client.pipeline(transaction=False) as pipe:
            for stream in self._streams:
                queue(pipeline_for(pipe, stream), stream)
            return dict(zip(self._streams, pipe.execute(raise_on_error=False), strict=True))

    def _with_group(self, command: Callable[[], Any]) -> Any:
        """Run a command; if the group is missing, create it and run the command again.

        It is created twice at most, because it can be deleted again in between.
        """
        for _ in range(2):
            try:
                return command()
            except ResponseError as error:
                if "NOGROUP" not in str(error):
                    raise
            log.warning("consumer group is missing, creating it again", group=self._group)
            self.create_group()
        return command()

    def ack(self, entries: Sequence[StateLogEntry]) -> None:
        """Acknowledge entries: the group does not get them again."""
        ids: dict[str, list[str]] = defaultdict(list)
        for entry in entries:
            ids[entry.stream].append(entry.id)
        with self._client.pipeline(transaction=False) as pipe:
            for stream, read in ids.items():
                pipe.xack(stream, self._group, *read)
            pipe.execute()


def trim(client: Redis) -> None:
    """Delete entries that every group has acknowledged."""
    for tag in keys.all_tags():
        stream = keys.of_partition("state_log", tag)
        if client.exists(stream):
            with _tolerating_removal():
                _trim(client, stream)


def _trim(client: Redis, stream: str) -> None:
    _limit_bytes(client, stream)
    groups = _groups_in_use(client, stream)
    if not groups:
        client.xtrim(stream, maxlen=MAX_ENTRIES_WITHOUT_GROUPS, approximate=True)
        return
    oldest = min((_oldest_needed(client, stream, group) for group in groups), key=_order)
    client.xtrim(stream, minid=oldest, approximate=True)
    client.xtrim(stream, maxlen=MAX_ENTRIES, approximate=True)


@contextmanager
def _tolerating_removal() -> Iterator[None]:
    """End the block if the stream or a group is removed meanwhile, as by FLUSHALL."""
    try:
        yield
    except ResponseError as error:
        if not any(text in str(error) for text in _REMOVED):
            raise


def _limit_bytes(client: Redis, stream: str) -> None:
    used: Any = client.memory_usage(stream)
    if used is not None and used > MAX_BYTES:
        entries = client.xlen(stream)
        log.warning("state log too large, oldest entries deleted", stream=stream, bytes=used)
        client.xtrim(stream, maxlen=entries * MAX_BYTES // used, approximate=True)


def _groups_in_use(client: Redis, stream: str) -> list[dict[str, Any]]:
    """Return the stream's groups. Delete those that nobody has read for a long time.

    A reader that comes back creates its group again.
    """
    groups: Any = client.xinfo_groups(stream)
    kept = []
    for group in groups:
        if _is_abandoned(client, stream, group):
            client.xgroup_destroy(stream, group["name"])
            log.warning("consumer group deleted, nobody reads it", group=group["name"])
        else:
            kept.append(group)
    return kept


def _is_abandoned(client: Redis, stream: str, group: dict[str, Any]) -> bool:
    unread: Any = client.xrange(stream, min=f"({group['last-delivered-id']}", count=1)
    if not unread:
        return False
    clock: Any = client.time() if not isinstance(client, Cluster) else client.node_of(stream).time()
    limit = GROUP_IDLE_AFTER * 1000
    if clock[0] * 1000 - _order(unread[0][0])[0] < limit:
        return False
    consumers: Any = client.xinfo_consumers(stream, group["name"])
    return all(consumer["idle"] >= limit for consumer in consumers)


def delete_idle_consumers(client: Redis) -> int:
    """Delete idle consumers that have acknowledged everything, and return their number.

    Every worker process reads under a new name, so names of ended processes accumulate.
    """
    deleted = 0
    for tag in keys.all_tags():
        stream = keys.of_partition("state_log", tag)
        if client.exists(stream):
            with _tolerating_removal():
                deleted += _delete_idle_consumers(client, stream)
    return deleted


def _delete_idle_consumers(client: Redis, stream: str) -> int:
    deleted = 0
    for group in client.xinfo_groups(stream):
        for consumer in client.xinfo_consumers(stream, group["name"]):
            if not consumer["pending"] and consumer["idle"] > IDLE_AFTER:
                client.xgroup_delconsumer(stream, group["name"], consumer["name"])
                deleted += 1
    return deleted


def _oldest_needed(client: Redis, stream: str, group: dict[str, Any]) -> str:
    pending: Any = client.xpending(stream, group["name"])
    return str(pending["min"] or group["last-delivered-id"])


def _order(entry_id: str) -> tuple[int, int]:
    milliseconds, _, sequence = entry_id.partition("-")
    return int(milliseconds), int(sequence or 0)


def _all_entries(response: Any) -> list[StateLogEntry]:
    streams = response.items() if isinstance(response, dict) else response or []
    return [entry for stream, items in streams for entry in _entries(stream, _flatten(items))]


def _flatten(items: Any) -> Any:
    """Return a stream's entries without the extra list that RESP3 wraps them in."""
    return items[0] if items and isinstance(items[0], list) else items


def _entries(stream: str, items: Any) -> list[StateLogEntry]:
    return [
        StateLogEntry(
            stream=stream,
            id=entry_id,
            snapshot=values["job"],
            delivery=values.get("delivery"),
            delivery_state=values.get("state"),
        )
        for entry_id, values in items
        if values
    ]
