"""HTTP requests to a source: redirects within an allow-list, credentials for one host only."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urljoin, urlsplit

import urllib3
from urllib3.exceptions import HTTPError
from urllib3.response import BaseHTTPResponse

from common.errors import (
    DownloadError,
    FileChanged,
    FileNotFound,
    NetworkError,
    SourceForbidden,
    SourceRateLimited,
    TemporaryUnavailable,
)

MAX_REDIRECTS = 5
CONNECT_TIMEOUT = 3.0
#: Longest silence of a source, seconds.
READ_TIMEOUT = 15.0
REDIRECTS = frozenset({301, 302, 303, 307, 308})
#: Longest wait that a source may ask for, seconds.
LONGEST_WAIT = 300.0


class HttpClient:
    """Sends requests to one origin and to the hosts that it may redirect to. Thread safe."""

    def __init__(
        self, *, origin: str, redirect_hosts: frozenset[str], authorization: str | None
    ) -> None:
        """``origin`` is scheme://host[:port]; only it gets ``authorization``."""
        self._origin = origin
        self._hosts = redirect_hosts | {urlsplit(origin).netloc}
        self._authorization = authorization
        self._pool = urllib3.PoolManager(
            num_pools=8,
            maxsize=32,
            block=False,
            retries=False,
            timeout=urllib3.Timeout(connect=CONNECT_TIMEOUT, read=READ_TIMEOUT),
        )

    def close(self) -> None:
        self._pool.clear()

    def request(
        self, method: str, url: str, headers: Mapping[str, str] | None = None
    ) -> tuple[BaseHTTPResponse, str]:
        """The answer with its body still unread, and the URL that gave it.

        Raises the error that a status of 400 or more stands for; NetworkError for the rest.
        """
        for _ in range(MAX_REDIRECTS + 1):
            sent = {"accept-encoding": "identity", "user-agent": "Longhaul", **(headers or {})}
            if self._authorization and _origin(url) == self._origin:
                sent["authorization"] = self._authorization
            try:
                answer = self._pool.request(
                    method, url, headers=sent, preload_content=False, redirect=False
                )
            except HTTPError as error:
                raise NetworkError("The source could not be reached") from error
            if answer.status not in REDIRECTS:
                if answer.status >= 400:
                    answer.drain_conn()
                    raise error_of(answer)
                return answer, url
            answer.drain_conn()
            url = self._allowed(urljoin(url, answer.headers.get("location", "")))
        raise NetworkError("The source redirects in a circle")

    def _allowed(self, url: str) -> str:
        parts = urlsplit(url)
        secure = parts.scheme == "https" or (
            parts.scheme == "http" and self._origin.startswith("http:")
        )
        if not secure or parts.netloc not in self._hosts or parts.username is not None:
            raise SourceForbidden("The source redirects to where this service must not go")
        return url


def error_of(answer: BaseHTTPResponse) -> DownloadError:
    """What the status of a refusal means."""
    wait = _retry_after(answer.headers.get("retry-after"))
    match answer.status:
        case 404 | 410:
            return FileNotFound()
        case 401 | 403 | 451:
            return SourceForbidden()
        case 409 | 412 | 416:
            return FileChanged()
        case 429:
            return SourceRateLimited(retry_after=wait)
        case 408 | 500 | 502 | 503 | 504:
            return TemporaryUnavailable(retry_after=wait)
        case _:
            return NetworkError(f"The source answered {answer.status}")


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _retry_after(value: str | None) -> float | None:
    if value is None or not value.isdigit():
        return None
    return min(float(value), LONGEST_WAIT)
