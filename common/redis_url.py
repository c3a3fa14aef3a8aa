"""What a Redis URL names: one server, a group watched by Sentinels, or a cluster.

``redis://host:6379/0`` and ``rediss://`` as everywhere; beside these
``redis+sentinel://[user:password@]host:26379,host:26379/service[/db]`` and
``redis+cluster://[user:password@]host:6379,host:6379``. With ``rediss+`` the servers, and the
Sentinels, are spoken to by TLS. ``?sentinel_password=`` is the Sentinels' own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import parse_qs, unquote, urlsplit

Kind = Literal["single", "sentinel", "cluster"]

_PORTS: Final = {"single": 6379, "sentinel": 26379, "cluster": 6379}


@dataclass(frozen=True, kw_only=True)
class RedisTarget:
    """Where a database is."""

    kind: Kind
    #: Of the server, of the Sentinels, or of some of the cluster's nodes.
    hosts: tuple[tuple[str, int], ...]
    db: int = 0
    #: The group's name at the Sentinels.
    service: str = ""
    username: str | None = None
    password: str | None = None
    sentinel_password: str | None = None
    tls: bool = False


def parse(url: str) -> RedisTarget:
    """Raises ValueError for what is no Redis URL, without repeating it: it may hold a password."""
    scheme, _, rest = url.partition("://")
    base, _, variant = scheme.lower().partition("+")
    if base not in ("redis", "rediss") or variant not in ("", "sentinel", "cluster"):
        raise ValueError("A Redis URL begins with redis://, redis+sentinel:// or redis+cluster://")
    kind: Kind = "sentinel" if variant == "sentinel" else "cluster" if variant else "single"
    location, _, query = rest.partition("?")
    authority, _, path = location.partition("/")
    credentials, _, members = authority.rpartition("@")
    username, _, password = credentials.partition(":")
    service, db = _service_and_db(kind, path.strip("/"))
    return RedisTarget(
        kind=kind,
        hosts=tuple(_host(member, _PORTS[kind]) for member in members.split(",")),
        db=db,
        service=service,
        username=unquote(username) or None,
        password=unquote(password) or None,
        sentinel_password=parse_qs(query).get("sentinel_password", [None])[0],
        tls=base == "rediss",
    )


def _service_and_db(kind: Kind, path: str) -> tuple[str, int]:
    first, _, second = path.partition("/")
    if kind == "sentinel":
        if not first:
            raise ValueError("A redis+sentinel URL names the service behind its hosts: /mymaster")
        return unquote(first), int(second or 0)
    if kind == "cluster" and first not in ("", "0"):
        raise ValueError("A cluster has one database only")
    return "", int(first or 0)


def _host(member: str, port: int) -> tuple[str, int]:
    parts = urlsplit(f"//{member}")
    if not parts.hostname:
        raise ValueError("A Redis URL names at least one host")
    return parts.hostname, parts.port or port
