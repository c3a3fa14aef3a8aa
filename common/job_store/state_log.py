"""The stream of all changes of state, read by consumer groups: at least once, in order per job.

In between are the attempts to tell of such a change by webhook.

Readers make themselves idempotent by (job id, version). An entry stays until every group has
acknowledged it; a bound on the whole keeps a reader that never comes back from filling the store.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from redis.exceptions import ResponseError

from common.job_store import keys
from common.job_store.cluster import Cluster, pipeline_for
from common.jobs import events
from common.jobs.model import Job

if TYPE_CHECKING:
    from redis import Redis

#: Entries kept per partition, however far behind a group is.
BOUND: Final = 100_000
#: A reader that asked for nothing so long is gone, milliseconds; it may come back as a new one.
GONE_AFTER: Final = 3_600_000
#: Entries kept per partition while no group reads.
UNREAD: Final = 1_000


@dataclass(frozen=True, kw_only=True)
class StateLogEntry:
    """One change of state; ``stream`` and ``id`` name it for ``ack``."""

    stream: str
    id: str
    #: The job as the script wrote it.
    snapshot: str
    #: An attempt to deliver the webhook for this state, as JSON, and what became of it by that
    #: attempt; None where the job itself has changed.
    delivery: str | None = None
    delivery_state: str | None = None

    @cached_property
    def job(self) -> Job:
        return events.decode(self.snapshot)


class StateLog:
    """One group's view of the state log. Raises ``redis.exceptions.RedisError`` when it is away."""

    def __init__(self, client: Redis, group: str, consumer: str) -> None:
        """``group`` is what is done with the entries, ``consumer`` is this process."""
        self._client = client
        self._group = group
        self._consumer = consumer
        self._streams = [keys.of_partition("state_log", tag) for tag in keys.all_tags()]

    def join(self) -> None:
        """Make sure that the group exists; a new one starts at the oldest entry."""
        for stream in self._streams:
            try:
                self._client.xgroup_create(stream, self._group, id="0", mkstream=True)
            except ResponseError as error:
                if "BUSYGROUP" not in str(error):
                    raise

    def read(self, *, count: int, block: int | None = None) -> list[StateLogEntry]:
        """Up to ``count`` new entries per partition, after at most ``block`` milliseconds.

        On a cluster nothing waits: there is no command that listens to more than one slot.
        """
        if isinstance(self._client, Cluster):
            return self._read_each(count)
        answer: Any = self._client.xreadgroup(
            self._group, self._consumer, dict.fromkeys(self._streams, ">"), count=count, block=block
        )
        return _all_entries(answer)

    def _read_each(self, count: int) -> list[StateLogEntry]:
        with self._client.pipeline(transaction=False) as pipe:
            for stream in self._streams:
                pipeline_for(pipe, stream).xreadgroup(
                    self._group, self._consumer, {stream: ">"}, count=count
                )
            return [entry for answer in pipe.execute() for entry in _all_entries(answer)]

    def take_over(self, *, idle: int, count: int) -> list[StateLogEntry]:
        """Entries that another consumer read over ``idle`` milliseconds ago and did not finish."""
        taken: list[StateLogEntry] = []
        for stream in self._streams:
            answer: Any = self._client.xautoclaim(
                stream, self._group, self._consumer, min_idle_time=idle, count=count
            )
            taken += _entries(stream, answer[1])
        return taken

    def forget_gone(self, *, idle: int) -> None:
        """Drop the names of consumers that ended over ``idle`` milliseconds ago, owing nothing."""
        for stream in self._streams:
            consumers: Any = self._client.xinfo_consumers(stream, self._group)
            for consumer in consumers:
                if consumer["pending"] == 0 and consumer["idle"] > idle:
                    self._client.xgroup_delconsumer(stream, self._group, consumer["name"])

    def ack(self, entries: Sequence[StateLogEntry]) -> None:
        """These are done: the group does not get them again."""
        with self._client.pipeline(transaction=False) as pipe:
            for entry in entries:
                pipe.xack(entry.stream, self._group, entry.id)
            pipe.execute()


def trim(client: Redis) -> None:
    """Drop what every group has acknowledged."""
    for tag in keys.all_tags():
        stream = keys.of_partition("state_log", tag)
        if not client.exists(stream):
            continue
        groups: Any = client.xinfo_groups(stream)
        if not groups:
            client.xtrim(stream, maxlen=UNREAD, approximate=True)
            continue
        oldest = min((_oldest_needed(client, stream, group) for group in groups), key=_order)
        client.xtrim(stream, minid=oldest, approximate=True)
        client.xtrim(stream, maxlen=BOUND, approximate=True)


def forget_consumers(client: Redis) -> int:
    """Drop readers that are gone and owe nothing: every worker process has a name of its own."""
    forgotten = 0
    for tag in keys.all_tags():
        stream = keys.of_partition("state_log", tag)
        if not client.exists(stream):
            continue
        for group in client.xinfo_groups(stream):
            for consumer in client.xinfo_consumers(stream, group["name"]):
                if not consumer["pending"] and consumer["idle"] > GONE_AFTER:
                    client.xgroup_delconsumer(stream, group["name"], consumer["name"])
                    forgotten += 1
    return forgotten


def backlog(client: Redis) -> dict[str, int]:
    """Group -> entries that it has not acknowledged, over all partitions."""
    with client.pipeline(transaction=False) as pipe:
        for tag in keys.all_tags():
            pipe.xinfo_groups(keys.of_partition("state_log", tag))
        # A partition without any entry has no stream yet, which is an error.
        answers = pipe.execute(raise_on_error=False)
    behind: dict[str, int] = {}
    for groups in answers:
        for group in groups if isinstance(groups, list) else ():
            owed = group["pending"] + (group["lag"] or 0)
            behind[group["name"]] = behind.get(group["name"], 0) + owed
    return behind


def _oldest_needed(client: Redis, stream: str, group: dict[str, Any]) -> str:
    pending: Any = client.xpending(stream, group["name"])
    return str(pending["min"] or group["last-delivered-id"])


def _order(entry_id: str) -> tuple[int, int]:
    milliseconds, _, sequence = entry_id.partition("-")
    return int(milliseconds), int(sequence or 0)


def _all_entries(answer: Any) -> list[StateLogEntry]:
    streams = answer.items() if isinstance(answer, dict) else answer or []
    return [entry for stream, found in streams for entry in _entries(stream, _flat(found))]


def _flat(found: Any) -> Any:
    """RESP3 wraps a stream's entries in one more list than RESP2."""
    return found[0] if found and isinstance(found[0], list) else found


def _entries(stream: str, found: Any) -> list[StateLogEntry]:
    return [
        StateLogEntry(
            stream=stream,
            id=entry_id,
            snapshot=values["job"],
            delivery=values.get("delivery"),
            delivery_state=values.get("state"),
        )
        for entry_id, values in found
        if values
    ]
