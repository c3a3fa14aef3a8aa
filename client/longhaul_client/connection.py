"""HTTP connections to the API and the object storage: credentials, timeouts, retries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NoReturn

import httpx

from .errors import ApiProblem, InvalidSetting, TransferFailed, Unreachable
from .proxies import EnvironmentProxies
from .timing import Clock, SystemClock, backoff

#: Maximum number of attempts of one request.
MAX_ATTEMPTS = 4
#: Maximum seconds between two attempts.
MAX_PAUSE = 5.0

#: Statuses of temporary errors.
RETRYABLE = frozenset({429, 502, 503, 504})
_USER_AGENT = "longhaul-python"


class JsonBody(dict[str, Any]):
    """A JSON object of the API. Reading a member that is missing raises ``Unreachable``."""

    def __missing__(self, member: str) -> NoReturn:
        raise Unreachable(
            f"the response is not from the Longhaul API ({member!r} is missing). Check the URL"
        )


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
        headers = {"Accept": "application/json", "User-Agent": _USER_AGENT}
        if token:
            headers["Authorization"] = f"Bearer {_header_value('token', token)}"
        if user:
            headers["X-User-Id"] = _header_value("user", user)
        self._transport = transport or _environment_proxies()
        base_url = _base_url(url)
        self._api = httpx.Client(
            # httpx logs the URL of every request, so it must not contain the password.
            base_url=base_url.copy_with(userinfo=b""),
            auth=(base_url.username, base_url.password) if base_url.userinfo else None,
            headers=headers,
            timeout=httpx.Timeout(timeout),
            transport=self._transport,
        )

    def close(self) -> None:
        self._api.close()

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
        lost_response = False
        while True:
            try:
                return self.once(method, path, params=params, json=json, headers=headers)
            except (ApiProblem, Unreachable) as failure:
                failures += 1
                if isinstance(failure, ApiProblem):
                    failure.after_lost_response = lost_response
                lost_response = lost_response or _is_lost(failure)
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
        """Send a request once. Raise ``ApiProblem`` or ``Unreachable``.

        ``extra_time`` is added to the timeout, for long polls.
        """
        try:
            response = self._api.request(
                method,
                path,
                params=params,
                json=json,
                headers=headers,
                timeout=httpx.Timeout(self._timeout, read=self._timeout + extra_time),
            )
        except (httpx.RequestError, httpx.InvalidURL) as error:
            raise _unreachable(self._api.base_url, error) from error
        raise_for_problem(response)
        return response

    def stream(
        self, path: str, *, headers: Mapping[str, str], timeouts: Mapping[str, float]
    ) -> AbstractContextManager[httpx.Response]:
        """Open a streamed response. ``timeouts`` may be changed between headers and body."""
        return self._api.stream("GET", path, headers=headers, extensions={"timeout": timeouts})

    @contextmanager
    def fetch(self, url: str, headers: Mapping[str, str]) -> Iterator[httpx.Response]:
        """Open an object in the object storage by its signed URL, without credentials.

        Raise ``TransferFailed`` if the URL is invalid. The request goes directly to the transport:
        a client of httpx would log the URL, whose signature is a credential.
        """
        try:
            request = httpx.Request(
                "GET",
                url,
                headers={"User-Agent": _USER_AGENT, **headers},
                extensions={"timeout": httpx.Timeout(self._timeout).as_dict()},
            )
        except httpx.InvalidURL:
            raise TransferFailed("the API sent a link that is not a valid URL") from None
        response = self._transport.handle_request(request)
        try:
            yield response
        finally:
            response.close()


def raise_for_problem(response: httpx.Response) -> None:
    """Raise ``ApiProblem`` for a rejected request, ``Unreachable`` if another server responded.

    The API responds with a JSON object or 204, and never with a redirect. A body that contains a
    job is a regular response even with an error status: a cancelled or expired job comes with 410.
    """
    if response.status_code == httpx.codes.NO_CONTENT:
        return
    body = _json_object(response)
    if body is not None and (response.is_success or (response.is_error and "jobId" in body)):
        return
    if body is None or not response.is_error or not body.keys() & {"code", "title"}:
        raise Unreachable(
            f"{response.url.host} responded with {_summary(response)}, and not from the "
            "Longhaul API. Check the URL and the proxies"
        )
    raise ApiProblem(response.status_code, body, retry_after(response))


def _summary(response: httpx.Response) -> str:
    """Return the status, and where a redirect leads: only the origin, as the rest may be secret."""
    if response.next_request is None:
        return f"HTTP {response.status_code}"
    origin = response.next_request.url.copy_with(userinfo=b"", raw_path=b"/", fragment=None)
    return f"HTTP {response.status_code}, a redirect to {origin}"


def json_body(response: httpx.Response) -> JsonBody:
    """Return the body as a JSON object, or an empty one if it is anything else."""
    return _json_object(response) or JsonBody()


def _json_object(response: httpx.Response) -> JsonBody | None:
    try:
        body = _with_bodies(response.json())
    except ValueError:
        return None
    return body if isinstance(body, JsonBody) else None


def _with_bodies(value: Any) -> Any:
    """Return a JSON value with its objects as ``JsonBody``, except the user's own metadata."""
    if isinstance(value, list):
        return [_with_bodies(each) for each in value]
    if not isinstance(value, dict):
        return value
    return JsonBody(
        {
            member: inner if member == "metadata" else _with_bodies(inner)
            for member, inner in value.items()
        }
    )


def retry_after(response: httpx.Response) -> float | None:
    """Return the seconds of ``Retry-After`` (RFC 9110, 10.2.3). A date counts as missing."""
    value = response.headers.get("Retry-After", "")
    return float(value) if value.isascii() and value.isdigit() else None


def _is_lost(failure: ApiProblem | Unreachable) -> bool:
    """Return whether the API may have done what was asked, as only its response is missing."""
    return isinstance(failure, Unreachable) or failure.status in (502, 504)


def _pause(failure: ApiProblem | Unreachable, failures: int) -> float | None:
    if isinstance(failure, Unreachable):
        return backoff(failures, maximum=MAX_PAUSE)
    if failure.status not in RETRYABLE:
        return None
    pause = failure.retry_after or backoff(failures, maximum=MAX_PAUSE)
    return pause if pause <= MAX_PAUSE else None


def _unreachable(url: httpx.URL, error: Exception) -> Unreachable:
    return Unreachable(f"cannot reach {url}: {str(error) or type(error).__name__}")


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
