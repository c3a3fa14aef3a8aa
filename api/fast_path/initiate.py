"""Creates jobs ahead of Flask; see the package's docstring for when and why."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import orjson
from redis.exceptions import RedisError
from werkzeug.sansio.utils import get_current_url, get_host

from api import job_creation, metrics, parsing, request_hooks, telemetry
from api.limits.rate_limits import raise_if_exceeded
from api.schemas.fields import MAX_METADATA_BYTES
from api.server.raw_responses import RawResponse
from common.errors import LonghaulError
from common.jobs.model import JobSpec, Priority

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from api.dependencies import Dependencies, FileIdLimits
    from common.job_store.jobs import Accepted

PATHS: Final = frozenset({"/v1/download/initiate", "/v1/download/async"})
#: Bytes; 1,000 file ids take 12,000.
MAX_BODY_BYTES: Final = 16_384

_MEMBERS: Final = frozenset({"file_ids", "priority", "metadata"})
_SCALARS: Final = frozenset({str, int, float, bool, type(None)})
_PRIORITIES: Final = {priority.value: priority for priority in Priority}
_HOST: Final = re.compile(r"[a-z0-9.-]+(?::[0-9]{1,5})?\Z")


class InitiateFastPath:
    """WSGI middleware around Flask's application."""

    def __init__(
        self, application: WSGIApplication, dependencies: Dependencies, *, max_body_bytes: int
    ) -> None:
        """``max_body_bytes``: Flask rejects longer bodies."""
        self._application = application
        self._dependencies = dependencies
        self._max_body_bytes = min(max_body_bytes, MAX_BODY_BYTES)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] in PATHS and self._is_simple(environ):
            spec = _read_spec(environ, self._dependencies.file_ids)
            if spec is not None:
                return self._serve(environ, start_response, spec)
        return self._application(environ, start_response)

    def _is_simple(self, environ: WSGIEnvironment) -> bool:
        """Return whether the request's head needs nothing that only Flask does."""
        return (
            environ["REQUEST_METHOD"] == "POST"
            and environ.get("CONTENT_TYPE") == "application/json"
            and not environ.get("QUERY_STRING")
            and "HTTP_PREFER" not in environ
            and 0 < int(environ.get("CONTENT_LENGTH") or 0) <= self._max_body_bytes
            and parsing.is_idempotency_key(environ.get("HTTP_IDEMPOTENCY_KEY", "-"))
            and self._dependencies.plans is None
            and _HOST.match(environ.get("HTTP_HOST", "")) is not None
            and self._dependencies.allowed_hosts.allow(environ["HTTP_HOST"])
        )

    def _serve(
        self, environ: WSGIEnvironment, start_response: StartResponse, spec: JobSpec
    ) -> Iterable[bytes]:
        started = time.perf_counter()
        path = environ["PATH_INFO"]
        request = telemetry.RequestTelemetry(environ, "POST", path)
        environ[telemetry.ENVIRON_KEY] = request
        try:
            response = self._create(environ, spec, request)
            if response is None:
                return self._application(environ, start_response)
            request.record_response(202, response.status)
            metrics.observe_request("POST", path, 202, time.perf_counter() - started)
            return response.to_wsgi(environ, start_response)
        finally:
            request.end()

    def _create(
        self, environ: WSGIEnvironment, spec: JobSpec, request: telemetry.RequestTelemetry
    ) -> RawResponse | None:
        """Return the 202 response; None if Flask has to render an error."""
        dependencies = self._dependencies
        limiter = dependencies.rate_limiter
        address = environ.get("REMOTE_ADDR") or "unknown"
        try:
            caller = dependencies.authenticator.identify(environ)
        except LonghaulError:
            return None
        rate = limiter.count_request(address)
        creation = None
        try:
            limiter.sync_counts()
            raise_if_exceeded(rate)
            creation = limiter.count_creation_by_address(address)
            accepted = job_creation.create_job(
                dependencies,
                creation,
                caller,
                spec,
                key=environ.get("HTTP_IDEMPOTENCY_KEY"),
                traceparent=request.traceparent,
            )
        except (LonghaulError, RedisError) as error:
            # The request is counted, and may have created the job: Flask must not try again.
            environ[request_hooks.FAST_PATH_COUNT] = request_hooks.FastPathCount(
                creation.rate if creation else rate, error
            )
            return None
        lines, body = self._render(environ, accepted)
        lines += request_hooks.common_header_lines(
            environ,
            request.request_id,
            creation.rate,
            dependencies.cors,
            caching="Cache-Control: no-store\r\n",
        )
        return RawResponse("202 ACCEPTED", lines, body)

    def _render(self, environ: WSGIEnvironment, accepted: Accepted) -> tuple[str, bytes]:
        """Return the header lines of this response alone, and the body."""
        base = self._dependencies.public_url or _host_url(
            environ["wsgi.url_scheme"], environ["HTTP_HOST"]
        )
        description = job_creation.accepted_body(
            self._dependencies,
            accepted.job,
            base,
            job_creation.outcome_message(accepted),
            deduplicated=accepted.outcome == "deduplicated",
        )
        body = orjson.dumps(description)
        replayed = "Idempotent-Replayed: true\r\n" if accepted.outcome == "replayed" else ""
        lines = (
            f"{replayed}Location: {description['statusUrl']}\r\n"
            f"Retry-After: {self._dependencies.retry_after}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        )
        return lines, body


def _read_spec(environ: WSGIEnvironment, limits: FileIdLimits) -> JobSpec | None:
    """Return what the body requests; None if the schema has to check it.

    The body can be read again afterwards.
    """
    stream = environ["wsgi.input"]
    body = stream.read()
    stream.seek(0)
    if parsing.may_exceed_64_bits(body):
        return None
    try:
        return simple_spec(orjson.loads(body), limits)
    except orjson.JSONDecodeError:
        return None


def simple_spec(data: Any, limits: FileIdLimits) -> JobSpec | None:
    """Return what the schema would return, or None if anything is invalid or unusual."""
    if type(data) is not dict or not data.keys() <= _MEMBERS:
        return None
    file_ids = data.get("file_ids")
    priority = data.get("priority", "normal")
    metadata = data.get("metadata", {})
    if not (
        type(file_ids) is list
        and 1 <= len(file_ids) <= limits.max_count
        and all(type(each) is int and limits.min_id <= each <= limits.max_id for each in file_ids)
        and type(priority) is str
        and priority in _PRIORITIES
        and _is_flat_and_small(metadata)
    ):
        return None
    return JobSpec(
        file_ids=tuple(dict.fromkeys(file_ids)), priority=_PRIORITIES[priority], metadata=metadata
    )


def _is_flat_and_small(metadata: Any) -> bool:
    if type(metadata) is not dict:
        return False
    if not metadata:
        return True
    return (
        all(type(value) in _SCALARS for value in metadata.values())
        and len(orjson.dumps(metadata)) <= MAX_METADATA_BYTES
    )


@lru_cache(maxsize=256)
def _host_url(scheme: str, host: str) -> str:
    """Return the same as Flask's ``request.host_url``, without the slash at its end."""
    return get_current_url(scheme, get_host(scheme, host)).rstrip("/")
