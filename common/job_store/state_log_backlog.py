"""How far the groups that read the state log are behind."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from common.job_store import keys
from common.job_store.errors import raise_outage

if TYPE_CHECKING:
    from redis import Redis
    from redis.client import Pipeline

_NEVER_READ: Final = "0-0"


@dataclass(frozen=True, kw_only=True)
class Backlog:
    """What a group has not acknowledged, over all partitions."""

    entries: int = 0
    #: Seconds since the oldest of these entries was written; 0 if there are none.
    seconds: float = 0.0


def read_backlogs(client: Redis, expected: Iterable[str] = ()) -> dict[str, Backlog]:
    """Return the backlog of each group. Raises ``RedisError``.

    A group of ``expected`` that does not exist in a partition, such as after a restore from a
    backup that is older than the group, has every entry before it.
    """
    streams = [keys.of_partition("state_log", tag) for tag in keys.all_tags()]
    with client.pipeline(transaction=False) as pipe:
        pipe.time()
        for stream in streams:
            pipe.exists(stream)
            pipe.xlen(stream)
            pipe.xinfo_groups(stream)
        # A partition without entries has no stream yet, for which XINFO returns an error.
        clock, *results = pipe.execute(raise_on_error=False)
    raise_outage((clock, *results))
    seconds, micros = clock
    now = seconds * 1000 + micros // 1000
    found = [
        (stream, *group)
        for stream, exists, length, groups in zip(
            streams, results[::3], results[1::3], results[2::3], strict=True
        )
        if exists
        for group in _groups(groups, length, expected)
    ]
    with client.pipeline(transaction=False) as pipe:
        for stream, name, _, last_read, pending in found:
            _oldest(pipe, stream, name, last_read, pending=pending)
        responses = pipe.execute(raise_on_error=False) if found else []
    raise_outage(responses)
    backlogs = {name: Backlog() for name in expected}
    for (_, name, entries, _, _), response in zip(found, responses, strict=True):
        total = backlogs.get(name, Backlog())
        age = max(0, now - written) / 1000 if (written := _written_at(response)) else 0.0
        backlogs[name] = Backlog(entries=total.entries + entries, seconds=max(total.seconds, age))
    return backlogs


def _groups(groups: Any, length: int, expected: Iterable[str]) -> list[tuple[str, int, str, int]]:
    """Return the name, the backlog, the last entry read and the pending entries of each group."""
    existing = [
        (
            group["name"],
            group["pending"] + (group["lag"] or 0),
            group["last-delivered-id"],
            group["pending"],
        )
        for group in (groups if isinstance(groups, list) else ())
    ]
    names = {name for name, *_ in existing}
    return existing + [(name, length, _NEVER_READ, 0) for name in expected if name not in names]


def _oldest(pipe: Pipeline, stream: str, group: str, last_read: str, *, pending: int) -> None:
    if pending:
        pipe.xpending(stream, group)
    else:
        pipe.xrange(stream, min=f"({last_read}", count=1)


def _written_at(response: Any) -> int | None:
    """Return when the oldest entry was written, ms, from the response of XPENDING or XRANGE."""
    if isinstance(response, dict):
        entry_id = response["min"]
    else:
        entry_id = response[0][0] if isinstance(response, list) and response else None
    return int(entry_id.partition("-")[0]) if entry_id else None
