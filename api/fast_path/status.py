"""The plain status poll, answered ahead of Flask.

Most requests that this API sees are polls of a job that has not changed, and of the time that one
takes nine tenths were Flask's routing, request and response objects and a connection of its own to
the store. The plain form, without query and without anything that needs a decision, is answered
here: by the same limiter, presenter and headers, byte for byte as the route would
(tests/unit/api/fast_path/test_status.py). Everything else goes on to Flask.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import orjson
from redis.exceptions import RedisError
from werkzeug.datastructures import EnvironHeaders

from api import metrics, parsing, request_hooks
from api.auth.callers import is_user
from api.routes.jobs import GONE
from api.server.raw_responses import RawResponse
from common.errors import LonghaulError
from common.jobs.model import Job

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from api.dependencies import Dependencies

PREFIX: Final = "/v1/download/status/"
#: Jobs whose answer is kept until their next version: 2 KB each.
REMEMBERED: Final = 4_096
RULE: Final = "/v1/download/status/<job:job_id>"

_TAG: Final = re.compile(r'(?:W/)?"(\d{1,15})"\Z')


class Jobs(Protocol):
    """Reads jobs as they are now; if it refuses, Flask answers."""

    def read(self, job_id: str) -> Mapping[str, str]:
        """All of a job's fields."""

    def stamp(self, job_id: str) -> list[str]:
        """Its version and ``updated_at`` alone: after a store's loss of its last second a version
        may come a second time, with something else in it."""


class Known(NamedTuple):
    """A job as it was last told."""

    stamp: list[str]
    version: int
    user: str
    status: str
    #: Headers that come with 304 too, and those that only come with the body.
    lines: str
    more_lines: str
    body: bytes


class StatusFastPath:
    """WSGI middleware around Flask's application."""

    def __init__(self, application: WSGIApplication, context: Dependencies, jobs: Jobs) -> None:
        self._application = application
        self._context = context
        self._jobs = jobs
        self._known: dict[str, Known] = {}

    def __call__(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        path: str = environ["PATH_INFO"]
        if path.startswith(PREFIX) and is_plain(environ):
            answer = self._answer(path[len(PREFIX) :], environ)
            if answer is not None:
                return answer.give(environ, start)
        return self._application(environ, start)

    def _answer(self, job_id: str, environ: WSGIEnvironment) -> RawResponse | None:
        started = time.perf_counter()
        limiter = self._context.limiter
        try:
            job = self._job(parsing.job_id(job_id))
            if not self._is_allowed(job.user, environ):
                return None
            rate = limiter.any_request(environ.get("REMOTE_ADDR") or "unknown")
            limiter.exchange()
        except (LonghaulError, RedisError):
            return None
        if rate.remaining < 0:
            return None
        status, lines, body = job.status, job.lines, job.body
        if status == "200 OK" and _held(environ) == job.version:
            status, body = "304 NOT MODIFIED", b""
        else:
            lines += job.more_lines
        lines += request_hooks.common_lines(environ, rate)
        metrics.observe("GET", RULE, int(status[:3]), time.perf_counter() - started)
        return RawResponse(status, lines, body)

    def _is_allowed(self, user: str, environ: WSGIEnvironment) -> bool:
        authenticator = self._context.authenticator
        if not authenticator.owned:
            return True
        caller = authenticator.identify(EnvironHeaders(environ))
        return caller.admin or caller.user == user

    def _job(self, job_id: str) -> Known:
        """The job as it is."""
        known = self._known.get(job_id)
        if known is not None and known.stamp == self._jobs.stamp(job_id):
            return known
        job = Job.from_fields(self._jobs.read(job_id))
        known = self._described(job)
        # A link is signed anew each time, and told to nobody else.
        if job.artifact is None:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            self._known[job_id] = known
        return known

    def _described(self, job: Job) -> Known:
        body = orjson.dumps(self._context.presenter.present(job))
        gone = job.status in GONE
        waits = not (gone or job.terminal)
        return Known(
            stamp=[str(job.version), str(job.updated_at)],
            version=job.version,
            user=job.user,
            status="410 GONE" if gone else "200 OK",
            lines=f'ETag: "{job.version}"\r\nCache-Control: private, no-cache\r\n'
            + (f"Retry-After: {self._context.poll_after}\r\n" if waits else ""),
            more_lines=f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n",
            body=body,
        )


def is_plain(environ: WSGIEnvironment) -> bool:
    """Whether nothing in the request needs more than the job itself."""
    return (
        environ["REQUEST_METHOD"] == "GET"
        and not environ.get("QUERY_STRING")
        and "HTTP_UPGRADE" not in environ
        and is_user(environ.get("HTTP_X_USER_ID", "-"))
        and ("HTTP_IF_NONE_MATCH" not in environ or _held(environ) is not None)
    )


def _held(environ: WSGIEnvironment) -> int | None:
    """The version that the client has, where it names one only."""
    found = _TAG.match(environ.get("HTTP_IF_NONE_MATCH", ""))
    return int(found[1]) if found else None
