"""The HTTP connection to the API: who calls, how long to wait, what to try again."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import httpx

from .errors import ApiProblem, Unreachable
from .timing import Clock, SystemClock, backoff

#: Tries of one call in all, and the longest pause between two of them, in seconds.
ATTEMPTS = 4
LONGEST_PAUSE = 5.0

_AGAIN = frozenset({429, 502, 503, 504})


class Connection:
    """Calls the API and turns its refusals into ``ApiProblem``."""

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        user: str | None = None,
        timeout: float = 10.0,
        clock: Clock | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.clock = clock or SystemClock()
        self._timeout = timeout
        headers = {"Accept": "application/json", "User-Agent": "longhaul-python"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        if user:
            headers["X-User-Id"] = user
        self._api = httpx.Client(
            base_url=url, headers=headers, timeout=httpx.Timeout(timeout), transport=transport
        )
        # Signed links lead to the object storage, which must never see the caller's token.
        self._storage = httpx.Client(timeout=httpx.Timeout(timeout), transport=transport)

    def close(self) -> None:
        self._api.close()
        self._storage.close()

    def call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int] | None = None,
        json: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """One call, tried again while the server is away or busy for a moment.

        Only for calls that may safely be sent twice. Raises ``ApiProblem`` or ``Unreachable``.
        """
        failures = 0
        while True:
            try:
                return self.once(method, path, params=params, json=json, headers=headers)
            except (ApiProblem, Unreachable) as failure:
                failures += 1
                pause = _pause(failure, failures)
                if pause is None or failures == ATTEMPTS:
                    raise
            self.clock.sleep(pause)

    def once(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int] | None = None,
        json: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        extra_time: float = 0.0,
    ) -> httpx.Response:
        """One call, sent once; ``extra_time``: seconds that the server was asked to hold it."""
        try:
            response = self._api.request(
                method,
                path,
                params=params,
                json=json,
                headers=headers,
                timeout=httpx.Timeout(self._timeout, read=self._timeout + extra_time),
            )
        except httpx.TransportError as error:
            raise _unreachable(self._api.base_url, error) from error
        raise_for_refusal(response)
        return response

    def stream(
        self, path: str, *, headers: Mapping[str, str], timeouts: Mapping[str, float]
    ) -> AbstractContextManager[httpx.Response]:
        """An answer of the API, read as it comes; ``timeouts`` is read again before each phase."""
        return self._api.stream("GET", path, headers=headers, extensions={"timeout": timeouts})

    def fetch(self, url: str, headers: Mapping[str, str]) -> AbstractContextManager[httpx.Response]:
        """An object of the storage by its signed link, without the caller's credentials."""
        return self._storage.stream("GET", url, headers=headers)


def raise_for_refusal(response: httpx.Response) -> None:
    """Raise ``ApiProblem`` for the API's own 4xx and 5xx, ``Unreachable`` for anybody else's.

    A body with a job in it is an answer, whatever its status: 410 tells how the job ended.
    """
    if response.status_code < 400:
        return
    body = json_body(response)
    if "jobId" in body:
        return
    if "code" not in body and "title" not in body:
        raise Unreachable(f"{response.url.host} answered {response.status_code} and no problem")
    raise ApiProblem(response.status_code, body, retry_after(response))


def json_body(response: httpx.Response) -> dict[str, Any]:
    """The body as a JSON object, empty when it is anything else."""
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def retry_after(response: httpx.Response) -> float | None:
    """Seconds of ``Retry-After`` (RFC 9110, 10.2.3); a date counts as absent."""
    value = response.headers.get("Retry-After", "")
    return float(value) if value.isascii() and value.isdigit() else None


def _pause(failure: ApiProblem | Unreachable, failures: int) -> float | None:
    if isinstance(failure, Unreachable):
        return backoff(failures, most=LONGEST_PAUSE)
    if failure.status not in _AGAIN:
        return None
    pause = failure.retry_after or backoff(failures, most=LONGEST_PAUSE)
    return pause if pause <= LONGEST_PAUSE else None


def _unreachable(url: httpx.URL, error: httpx.TransportError) -> Unreachable:
    return Unreachable(f"cannot reach {url}: {str(error) or type(error).__name__}")
