"""What operators did: a stream of the newest actions, for all operators to read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import orjson

from common.job_store import keys
from common.jobs.model import known_members

if TYPE_CHECKING:
    from redis import Redis

#: Entries that are kept.
MAX_ENTRIES: Final = 10_000
#: Jobs that an entry names.
MAX_NAMED_JOBS: Final = 100


@dataclass(frozen=True, kw_only=True)
class AuditEntry:
    """One action of an operator."""

    action: str
    #: The subject of the operator's token; empty if they used ADMIN_TOKEN, which several may share.
    subject: str = ""
    #: How many jobs it was for, and how many of them it changed.
    matched: int = 0
    changed: int = 0
    #: The IDs of the changed jobs, at most ``MAX_NAMED_JOBS``.
    job_ids: Sequence[str] = ()
    #: Other parameters, such as the filter that chose the jobs.
    parameters: Mapping[str, Any] = field(default_factory=dict)
    request_id: str = ""
    #: Position in the stream, which begins with the time; set by the log.
    id: str = ""

    @property
    def at(self) -> int:
        """When it happened, in milliseconds since 1970 by the job store's clock."""
        return int(self.id.partition("-")[0])


class AuditLog:
    """The audit log. Raises ``RedisError`` when the store is unavailable."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    def record(self, entry: AuditEntry) -> None:
        """Add an entry; the oldest ones are deleted."""
        stored = replace(entry, job_ids=entry.job_ids[:MAX_NAMED_JOBS])
        fields: Any = {"entry": orjson.dumps(stored)}
        self._client.xadd(keys.AUDIT_LOG, fields, maxlen=MAX_ENTRIES, approximate=True)

    def page(self, *, before: str | None, limit: int) -> tuple[list[AuditEntry], bool]:
        """Return up to ``limit`` entries, newest first, and whether there are more.

        ``before``: the ID of the last entry on the previous page; None: the first page.
        """
        newest = f"({before}" if before else "+"
        found: Any = self._client.xrevrange(keys.AUDIT_LOG, max=newest, count=limit + 1)
        entries = [_entry(entry_id, fields["entry"]) for entry_id, fields in found]
        return entries[:limit], len(entries) > limit


def _entry(entry_id: str, text: str) -> AuditEntry:
    return AuditEntry(**{**known_members(AuditEntry, orjson.loads(text)), "id": entry_id})
