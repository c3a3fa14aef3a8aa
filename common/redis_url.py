"""Parses Redis URLs: a single server, a service behind Sentinels, or a cluster.

Besides ``redis://host:6379/0`` and ``rediss://`` there are
``redis+sentinel://[user:password@]host:26379,host:26379/service[/db]`` and
``redis+cluster://[user:password@]host:6379,host:6379``. With ``rediss+`` the connections to servers
and Sentinels use TLS. ``?sentinel_password=`` is the password of the Sentinels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import parse_qs, unquote, urlsplit

Kind = Literal["single", "sentinel", "cluster"]

_PORTS: Final = {"single": 6379, "sentinel": 26379, "cluster": 6379}


@dataclass(frozen=True, kw_only=True)
class RedisTarget:
    """The database that a URL points to."""

    kind: Kind
    #: Addresses of the server, the Sentinels, or some of the cluster's nodes.
    hosts: tuple[tuple[str, int], ...]
    db: int = 0
    #: The name of the service that the Sentinels monitor.
    service: str = ""
    username: str | None = None
    password: str | None = None
    sentinel_password: str | None = None
    tls: bool = False


def parse(url: str) -> RedisTarget:
    """Parse a URL. Raises ``ValueError`` without showing the URL, which may hold a password."""
    scheme, _, rest = url.partition("://")
    base, _, variant = scheme.lower().partition("+")
    if base not in ("redis", "rediss") or variant not in ("", "sentinel", "cluster"):
        raise ValueError(
            "A Redis URL must begin with redis://, redis+sentinel:// or redis+cluster://"
        )
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
            raise ValueError(
                "A redis+sentinel URL must end with the name of the service: /mymaster"
            )
        return unquote(first), _database(second)
    if kind == "cluster" and first not in ("", "0"):
        raise ValueError("A cluster has only database 0")
    return "", _database(first)


def _database(text: str) -> int:
    if text and not (text.isascii() and text.isdecimal()):
        raise ValueError(
            "A Redis URL must end with the number of a database, such as /0. "
            "Percent-encode special characters in the password"
        )
    return int(text or 0)


def _host(member: str, port: int) -> tuple[str, int]:
    parts = urlsplit(f"//{member}")
    if not parts.hostname:
        raise ValueError("A Redis URL must name at least one host")
    try:
        return parts.hostname, parts.port or port
    except ValueError:
        raise ValueError(
            "The port in a Redis URL must be a number up to 65535. "
            "Percent-encode special characters in the password"
        ) from None
