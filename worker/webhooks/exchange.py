"""What owners of a job are shown of a webhook's request and response: headers without secrets.

The URL may contain a secret in its path or query, and so may any header of the receiver, which may
also be very long. So only the origin and the values of known headers are shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from common.job_store.deliveries import Exchange
from common.observability.redaction import MASK, Redactor

MAX_HEADERS: Final = 40
#: Characters.
MAX_NAME: Final = 64
MAX_VALUE: Final = 200
#: Headers whose values contain no credentials.
_SHOWN: Final = frozenset(
    {
        "allow", "cache-control", "cf-ray", "connection", "content-encoding", "content-length",
        "content-type", "date", "host", "retry-after", "server", "transfer-encoding", "user-agent",
        "vary", "via", "webhook-id", "webhook-timestamp", "x-amzn-requestid", "x-request-id",
    }
)  # fmt: skip

_redactor: Final = Redactor()


def shown_exchange(
    attempt: int,
    url: str,
    request_headers: Mapping[str, str],
    response_headers: Mapping[str, str] | None,
) -> Exchange:
    """Return what is stored of an attempt, bounded and without secrets."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return Exchange(
        attempt=attempt,
        url=f"{parts.scheme}://{host}",
        request_headers=_shown(request_headers),
        response_headers=None if response_headers is None else _shown(response_headers),
    )


def _shown(headers: Mapping[str, str]) -> dict[str, str]:
    return {
        _printable(name, MAX_NAME).lower(): _value(name, value)
        for name, value in list(headers.items())[:MAX_HEADERS]
    }


def _value(name: str, value: str) -> str:
    if name.lower() not in _SHOWN:
        return MASK
    return str(_redactor.clean(_printable(value, MAX_VALUE)))


def _printable(text: str, length: int) -> str:
    # Headers are bytes that were read as Latin-1; only ASCII has a meaning in them.
    return "".join(char if " " <= char <= "~" else "?" for char in text[:length])
