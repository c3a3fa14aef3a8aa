"""Serves status polls ahead of Flask; see the package's docstring for when and why.

Most polls find the job unchanged. The rendered job is kept, and one HMGET of its version, sent
together with those of all other polls, shows that it is still current.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import orjson
from redis.exceptions import RedisError

from api import metrics, parsing, request_hooks, telemetry
from api.auth.callers import is_user_id
from api.responses import GONE
from api.server.raw_responses import RawResponse
from common.errors import JobNotFound, LonghaulError
from common.jobs.model import Job

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from api.dependencies import Dependencies

PREFIX: Final = "/v1/download/status/"
ROUTE: Final = "/v1/download/status/<job:job_id>"
#: Jobs that are kept as they were rendered last, 2 KB each.
MAX_CACHED_JOBS: Final = 4_096

_ETAG: Final = re.compile(r'(?:W/)?("[0-9]{1,15}(?:-[0-9]{1,15}){0,2}")\Z')


class JobReader(Protocol):
    """Reads jobs from the job store. If it raises, Flask serves the request."""

    def read_fields(self, job_id: str) -> Mapping[str, str]:
        """Return all of a job's fields."""

    def read_version(self, job_id: str) -> list[str]:
        """Return the job's ``version`` and ``updated_at``.

        The version alone is not enough: a job store that lost its last second of writes assigns the
        same version again, to another state.
        """


class CachedJob(NamedTuple):
    """A job as it was rendered last."""

    #: As ``JobReader.read_version`` returned it.
    version_fields: list[str]
    etag: str
    user: str
    status: str
    #: Sent with 304 too.
    header_lines: str
    body_header_lines: str
    body: bytes
    #: While it is queued: the job, which is rendered again with each reading of the queue.
    queued: Job | None
    reading: float


class StatusFastPath:
    """WSGI middleware around Flask's application."""

    def __init__(
        self, application: WSGIApplication, dependencies: Dependencies, jobs: JobReader
    ) -> None:
        self._application = application
        self._dependencies = dependencies
        self._jobs = jobs
        self._cache: dict[str, CachedJob] = {}

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path: str = environ["PATH_INFO"]
        if (
            path.startswith(PREFIX)
            and is_simple(environ)
            and self._dependencies.allowed_hosts.allow(environ.get("HTTP_HOST", ""))
        ):
            job_id = path[len(PREFIX) :]
            # An ID that is in the cache is valid.
            if job_id not in self._cache:
                try:
                    job_id = parsing.job_id(job_id)
                except JobNotFound:
                    return self._application(environ, start_response)
            return self._serve(environ, start_response, job_id)
        return self._application(environ, start_response)

    def _serve(
        self, environ: WSGIEnvironment, start_response: StartResponse, job_id: str
    ) -> Iterable[bytes]:
        started = time.perf_counter()
        request = telemetry.RequestTelemetry(environ, "GET", ROUTE)
        environ[telemetry.ENVIRON_KEY] = request
        try:
            response = self._response(environ, job_id, request.request_id)
            if response is None:
                return self._application(environ, start_response)
            status = int(response.status[:3])
            request.record_response(status, response.status)
            metrics.observe_request("GET", ROUTE, status, time.perf_counter() - started)
            return response.to_wsgi(environ, start_response)
        finally:
            request.end()

    def _response(
        self, environ: WSGIEnvironment, job_id: str, request_id: str
    ) -> RawResponse | None:
        """Return the response; None if Flask has to render an error."""
        dependencies = self._dependencies
        limiter = dependencies.rate_limiter
        rate = limiter.count_request(environ.get("REMOTE_ADDR") or "unknown")
        environ[request_hooks.FAST_PATH_COUNT] = request_hooks.FastPathCount(rate)
        if rate.remaining < 0:
            return None
        try:
            limiter.sync_counts()
            job = self._current(job_id)
            if not self._is_allowed(job_id, job.user, environ):
                return None
        except (LonghaulError, RedisError):
            return None
        status, lines, body = job.status, job.header_lines, job.body
        if status == "200 OK" and _etag_held(environ) == job.etag:
            status, body = "304 NOT MODIFIED", b""
        else:
            lines += job.body_header_lines
        lines += request_hooks.common_header_lines(environ, request_id, rate, dependencies.cors)
        return RawResponse(status, lines, body)

    def _is_allowed(self, job_id: str, owner: str, environ: WSGIEnvironment) -> bool:
        authenticator = self._dependencies.authenticator
        if not authenticator.jobs_are_private:
            return True
        caller = authenticator.identify(environ)
        if caller.admin:
            return True
        if caller.user != owner:
            return False
        self._dependencies.file_access.require_by_token(caller, job_id)
        return True

    def _current(self, job_id: str) -> CachedJob:
        """Return the job as it is now."""
        cached = self._cache.get(job_id)
        if cached is not None and cached.version_fields == self._jobs.read_version(job_id):
            if cached.queued is None or cached.reading == self._dependencies.forecaster.reading:
                return cached
            return self._remember(cached.queued)
        return self._remember(Job.from_fields(self._jobs.read_fields(job_id)))

    def _remember(self, job: Job) -> CachedJob:
        rendered = self._render(job)
        # A response with a signed link is not kept: each response has a link of its own.
        if job.artifact is None:
            if len(self._cache) >= MAX_CACHED_JOBS:
                self._cache.clear()
            self._cache[job.id] = rendered
        return rendered

    def _render(self, job: Job) -> CachedJob:
        presenter = self._dependencies.presenter
        etag = presenter.etag(job)
        body = orjson.dumps(presenter.present(job))
        gone = job.status in GONE
        retry_after = "" if job.terminal else f"Retry-After: {self._dependencies.retry_after}\r\n"
        return CachedJob(
            version_fields=[str(job.version), str(job.updated_at)],
            etag=etag,
            user=job.user,
            status="410 GONE" if gone else "200 OK",
            header_lines=f"ETag: {etag}\r\nCache-Control: private, no-cache\r\n{retry_after}",
            body_header_lines=f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n",
            body=body,
            queued=job if job.in_line else None,
            reading=self._dependencies.forecaster.reading if job.in_line else 0.0,
        )


def is_simple(environ: WSGIEnvironment) -> bool:
    """Return whether the response depends on the job alone."""
    return (
        environ["REQUEST_METHOD"] == "GET"
        and not environ.get("QUERY_STRING")
        and "HTTP_UPGRADE" not in environ
        and "HTTP_IF_MATCH" not in environ
        and is_user_id(environ.get("HTTP_X_USER_ID", "-"))
        and ("HTTP_IF_NONE_MATCH" not in environ or _etag_held(environ) is not None)
    )


def _etag_held(environ: WSGIEnvironment) -> str | None:
    """Return the tag of the response that the client already has, if it names exactly one."""
    value = environ.get("HTTP_IF_NONE_MATCH")
    found = _ETAG.match(value) if value else None
    return found[1] if found else None
