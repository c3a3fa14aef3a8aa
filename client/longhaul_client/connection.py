"""HTTP connections to the API and the object storage: credentials, timeouts, retries."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import httpx

from .errors import ApiProblem, InvalidSetting, Unreachable
from .proxies import EnvironmentProxies
from .timing import Clock, SystemClock, backoff

#: Maximum number of attempts of one request.
MAX_ATTEMPTS = 4
#: Maximum seconds between two attempts.
MAX_PAUSE = 5.0

_RETRYABLE = frozenset({429, 502, 503, 504})


class Connection:
    """Sends requests and turns error responses into ``ApiProblem``."""

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
        """Raise ``InvalidSetting`` if the URL, the token, the user or a proxy cannot be used."""
        self.clock = clock or SystemClock()
        self._timeout = timeout
        headers = {"Accept": "application/json", "User-Agent": "longhaul-python"}
        if token:
            headers["Authorization"] = f"Bearer {_header_value('token', token)}"
        if user:
            headers["X-User-Id"] = _header_value("user", user)
        transport = transport or _environment_proxies()
        self._api = httpx.Client(
            base_url=_base_url(url),
            headers=headers,
            timeout=httpx.Timeout(timeout),
            transport=transport,
        )
        # A separate client, so that the object storage never receives the API's token.
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
        """Send a request and retry it after temporary errors.

        Only for requests that are safe to send twice. Raise ``ApiProblem`` or ``Unreachable``.
        """
        failures = 0
        while True:
            try:
                return self.once(method, path, params=params, json=json, headers=headers)
            except (ApiProblem, Unreachable) as failure:
                failures += 1
                pause = _pause(failure, failures)
                if pause is None or failures == MAX_ATTEMPTS:
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
        """Send a request once. ``extra_time`` is added to the timeout, for long polls."""
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
        raise_for_problem(response)
        return response

    def stream(
        self, path: str, *, headers: Mapping[str, str], timeouts: Mapping[str, float]
    ) -> AbstractContextManager[httpx.Response]:
        """Open a streamed response. ``timeouts`` may be changed between headers and body."""
        return self._api.stream("GET", path, headers=headers, extensions={"timeout": timeouts})

    def fetch(self, url: str, headers: Mapping[str, str]) -> AbstractContextManager[httpx.Response]:
        """Open an object in the object storage by its signed URL, without credentials."""
        return self._storage.stream("GET", url, headers=headers)


def raise_for_problem(response: httpx.Response) -> None:
    """Raise ``ApiProblem`` for a 4xx or 5xx of the API and ``Unreachable`` for one of a proxy.

    A body that contains a job is a regular response whatever its status: a cancelled or expired
    job comes with 410.
    """
    if response.status_code < 400:
        return
    body = json_body(response)
    if "jobId" in body:
        return
    if "code" not in body and "title" not in body:
        raise Unreachable(
            f"{response.url.host} responded with HTTP {response.status_code}, and not from the "
            "Longhaul API. Check the URL and the proxies"
        )
    raise ApiProblem(response.status_code, body, retry_after(response))


def json_body(response: httpx.Response) -> dict[str, Any]:
    """Return the body as a JSON object, or an empty one if it is anything else."""
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def retry_after(response: httpx.Response) -> float | None:
    """Return the seconds of ``Retry-After`` (RFC 9110, 10.2.3). A date counts as missing."""
    value = response.headers.get("Retry-After", "")
    return float(value) if value.isascii() and value.isdigit() else None


def _pause(failure: ApiProblem | Unreachable, failures: int) -> float | None:
    if isinstance(failure, Unreachable):
        return backoff(failures, maximum=MAX_PAUSE)
    if failure.status not in _RETRYABLE:
        return None
    pause = failure.retry_after or backoff(failures, maximum=MAX_PAUSE)
    return pause if pause <= MAX_PAUSE else None


def _unreachable(url: httpx.URL, error: httpx.TransportError) -> Unreachable:
    # Without user name and password.
    address = url.copy_with(userinfo=b"")
    return Unreachable(f"cannot reach {address}: {str(error) or type(error).__name__}")


def _header_value(name: str, value: str) -> str:
    """Return the value without white space around it, such as the line end of a file.

    A library's error message would contain the value, so it is checked here.
    """
    value = value.strip()
    if not (value.isascii() and value.isprintable()):
        raise InvalidSetting(f"the {name} contains a line end or another character not allowed")
    return value


def _base_url(text: str) -> httpx.URL:
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        raise InvalidSetting("the URL of the API is invalid") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise InvalidSetting("the URL of the API must start with http:// or https:// and a host")
    return url


def _environment_proxies() -> EnvironmentProxies:
    try:
        return EnvironmentProxies()
    except ImportError:
        raise InvalidSetting(
            "a SOCKS proxy requires another package: pip install 'longhaul-client[socks]'"
        ) from None
    except (ValueError, httpx.InvalidURL):
        raise InvalidSetting(
            "the proxy in HTTP_PROXY, HTTPS_PROXY or ALL_PROXY is not a URL that can be used"
        ) from None
