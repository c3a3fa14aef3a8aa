"""Durable links to archives: opaque tokens that are stored as digests, counted and revocable."""

from __future__ import annotations

import hashlib
import ipaddress
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

from common.errors import LinkNotFound
from common.job_store import keys
from common.job_store.records import milliseconds
from common.job_store.scripts import Scripts

if TYPE_CHECKING:
    from redis import Redis

#: Links per job, including revoked and expired ones.
MAX_LINKS: Final = 100
#: Random bytes of a token.
TOKEN_BYTES: Final = 32
#: Characters of a token: one for the partition, and the random bytes in base64.
TOKEN_LENGTH: Final = 44
#: Seconds during which further requests from the same address are the same download.
SAME_DOWNLOAD: Final = 60.0
#: Addresses per link whose last download is remembered.
MAX_RECENT: Final = 16
#: Downloads of a job that the history records one by one. All of them are counted.
MAX_LOGGED: Final = 1_000
#: Downloads per partition that wait for the history: 2 MB in all of them.
LOG_LENGTH: Final = 1_000
#: Digits of a digest that identify a link among those of its job.
_ID_LENGTH: Final = 16


@dataclass(frozen=True, kw_only=True)
class DownloadLink:
    """A link without its token, which is not stored. Times are milliseconds since 1970."""

    #: SHA-256 of the token.
    digest: str
    job_id: str
    user: str
    created_at: int
    expires_at: int
    uses: int
    max_uses: int | None
    #: The address or network that may use it; None: all.
    ip: str | None
    file_name: str | None
    last_used_at: int | None
    revoked_at: int | None

    @property
    def id(self) -> str:
        return link_id(self.digest)

    @classmethod
    def from_fields(cls, digest: str, fields: Mapping[str, str]) -> Self:
        """Return the link in the store's flat strings; an absent or empty field is None."""
        return cls(
            digest=digest,
            job_id=fields["job"],
            user=fields["user"],
            created_at=int(fields["created_at"]),
            expires_at=int(fields["expires_at"]),
            uses=int(fields["uses"]),
            max_uses=_integer(fields.get("max_uses")),
            ip=fields.get("ip") or None,
            file_name=fields.get("file_name") or None,
            last_used_at=_integer(fields.get("last_used_at")),
            revoked_at=_integer(fields.get("revoked_at")),
        )


class DownloadLinks:
    """All links. Raises ``RedisError`` when the store is unavailable."""

    def __init__(
        self, client: Redis, *, continued_for: float = SAME_DOWNLOAD, log_downloads: bool = False
    ) -> None:
        """``continued_for``: how long an address may continue a download, in seconds.

        ``log_downloads``: there is a history that records them.
        """
        self._client = client
        self._log_downloads = log_downloads
        self._continued_for = continued_for
        self._scripts = Scripts(client)

    def create(
        self,
        job_id: str,
        user: str,
        *,
        expires_in: float | None,
        max_uses: int | None,
        ip: str | None,
        file_name: str | None,
    ) -> tuple[str, DownloadLink]:
        """Return the token and the link of a completed job; it ends with the archive.

        Raises ``JobNotFound`` and ``TooManyLinks``.
        """
        token = f"{keys.partition_of_job(job_id):x}{secrets.token_urlsafe(TOKEN_BYTES)}"
        digest = _digest(token)
        args = {
            "id": job_id,
            "digest": digest,
            "expires_in": None if expires_in is None else milliseconds(expires_in),
            "max": MAX_LINKS,
        }
        fields = {"user": user, "ip": ip, "file_name": file_name, "max_uses": max_uses}
        _, *flat = self._scripts.call("link_create", keys.status(job_id), args, fields)
        return token, DownloadLink.from_fields(
            digest, dict(zip(flat[::2], flat[1::2], strict=True))
        )

    def find(self, token: str) -> DownloadLink:
        """Return the link with this token, whatever its state. Raises ``LinkNotFound``."""
        if len(token) != TOKEN_LENGTH or token[0] not in "0123456789abcdef":
            raise LinkNotFound
        digest = _digest(token)
        fields: Any = self._client.hgetall(keys.link(int(token[0], 16), digest))
        if not fields:
            raise LinkNotFound
        return DownloadLink.from_fields(digest, fields)

    def of_job(self, job_id: str) -> list[DownloadLink]:
        """Return the job's links, oldest first."""
        digests: Any = sorted(self._client.smembers(keys.links(job_id)))
        with self._client.pipeline(transaction=False) as pipe:
            for digest in digests:
                pipe.hgetall(keys.link(keys.partition_of_job(job_id), digest))
            found = zip(digests, pipe.execute(), strict=True)
        links = [DownloadLink.from_fields(digest, fields) for digest, fields in found if fields]
        return sorted(links, key=lambda link: (link.created_at, link.digest))

    def revoke(self, job_id: str, link: str) -> None:
        """Revoke one of the job's links. Idempotent. Raises ``LinkNotFound``."""
        digests: Any = self._client.smembers(keys.links(job_id))
        found = [digest for digest in digests if link_id(digest) == link]
        if not found:
            raise LinkNotFound
        self._scripts.call("link_revoke", keys.status(job_id), {"digest": found[0]})

    def redeem(
        self,
        link: DownloadLink,
        address: str,
        *,
        only_check: bool = False,
        continues: bool = False,
    ) -> None:
        """Count a download by a link. Raises ``LinkGone`` and ``JobNotFound``.

        ``only_check``: raise the same, but count nothing. ``continues``: the request is for the
        rest of an archive.
        """
        window = max(SAME_DOWNLOAD, self._continued_for) if continues else SAME_DOWNLOAD
        args = {
            "id": link.job_id,
            "digest": link.digest,
            # Stored for a while, so not as it is.
            "address": _digest(f"{link.digest} {address}"),
            "window": milliseconds(window),
            "max_recent": MAX_RECENT,
            "only_check": "1" if only_check else None,
            **self._log_arguments(address),
        }
        self._scripts.call("link_redeem", keys.status(link.job_id), args)

    def count_download(self, job_id: str, address: str) -> None:
        """Count a download by the job's own URL. Raises ``JobNotFound``."""
        args = {"id": job_id, **self._log_arguments(address)}
        self._scripts.call("link_redeem", keys.status(job_id), args)

    def _log_arguments(self, address: str) -> dict[str, Any]:
        if not self._log_downloads:
            return {}
        network = network_of(address)
        return {"network": network, "max_logged": MAX_LOGGED, "log_length": LOG_LENGTH}


def link_id(digest: str) -> str:
    """Return what identifies a link among those of its job."""
    return digest[:_ID_LENGTH]


def network_of(address: str) -> str:
    """Return ``public``, ``private`` or ``unknown``: all that is recorded of a client's address."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    mapped = getattr(parsed, "ipv4_mapped", None) or parsed
    return "public" if mapped.is_global else "private"


def _digest(text: str) -> str:
    # The token is random and long, so neither salt nor many rounds would protect it better.
    return hashlib.sha256(text.encode()).hexdigest()


def _integer(text: str | None) -> int | None:
    return int(text) if text else None
