"""The plain status poll, answered ahead of Flask.

Most requests that this API sees are polls of a job that has not changed, and of the time that one
takes nine tenths were Flask's routing, request and response objects and a connection of its own to
the store. The plain form, without query and without anything that needs a decision, is answered
here: by the same limiter, presenter and headers, byte for byte as the route would
(tests/unit/api/test_quick_status.py). Everything else goes on to Flask.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final

import orjson
from redis.exceptions import RedisError
from werkzeug.datastructures import EnvironHeaders

from api import edge, metrics, parsing
from api.auth import is_user
from api.routes.jobs import GONE
from common.errors import LonghaulError
from common.jobs.model import Job

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from api.context import Context

PREFIX: Final = "/v1/download/status/"
#: Jobs whose JSON is kept until their next version: 3 KB each.
REMEMBERED: Final = 4_096
RULE: Final = "/v1/download/status/<job:job_id>"

_TAG: Final = re.compile(r'(?:W/)?"(\d{1,15})"\Z')


class QuickStatus:
    """WSGI middleware around Flask's application."""

    def __init__(
        self,
        application: WSGIApplication,
        context: Context,
        read: Callable[[str], Mapping[str, str]],
    ) -> None:
        """``read`` gives a job's fields as they are now; if it refuses, Flask answers."""
        self._application = application
        self._context = context
        self._read = read
        #: Jobs as they were last told, and how.
        self._known: dict[str, tuple[Job, bytes]] = {}

    def __call__(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        path: str = environ["PATH_INFO"]
        if path.startswith(PREFIX) and is_plain(environ):
            answer = self._answer(path[len(PREFIX) :], environ)
            if answer is not None:
                status, headers, body = answer
                start(status, headers)
                return [body]
        return self._application(environ, start)

    def _answer(
        self, job_id: str, environ: WSGIEnvironment
    ) -> tuple[str, list[tuple[str, str]], bytes] | None:
        started = time.perf_counter()
        context = self._context
        try:
            job, shown = self._job(parsing.job_id(job_id))
            if not self._is_allowed(job, environ):
                return None
            rate = context.limiter.any_request(environ.get("REMOTE_ADDR") or "unknown")
            context.limiter.exchange()
        except (LonghaulError, RedisError):
            return None
        if rate.remaining < 0:
            return None
        headers = [("ETag", f'"{job.version}"'), ("Cache-Control", "private, no-cache")]
        status, body = "200 OK", b""
        if job.status in GONE:
            status = "410 GONE"
        elif not job.terminal:
            headers.append(("Retry-After", context.poll_after))
        if status == "200 OK" and _held(environ) == job.version:
            status = "304 NOT MODIFIED"
        else:
            body = shown
            headers += [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        headers += edge.common_headers(edge.request_id(environ.get("HTTP_X_REQUEST_ID", "")), rate)
        headers.append(edge.POLICY)
        if environ["wsgi.url_scheme"] == "https":
            headers.append(edge.TRANSPORT_SECURITY)
        metrics.observe("GET", RULE, int(status[:3]), time.perf_counter() - started)
        return status, headers, body

    def _is_allowed(self, job: Job, environ: WSGIEnvironment) -> bool:
        authenticator = self._context.authenticator
        if not authenticator.owned:
            return True
        caller = authenticator.identify(EnvironHeaders(environ))
        return caller.admin or caller.user == job.user

    def _job(self, job_id: str) -> tuple[Job, bytes]:
        """The job as it is, and as its client sees it."""
        fields = self._read(job_id)
        known = self._known.get(job_id)
        if known is not None and str(known[0].version) == fields["version"]:
            return known
        job = Job.from_fields(fields)
        shown = orjson.dumps(self._context.presenter.present(job))
        # A link is signed anew each time, and told to nobody else.
        if job.artifact is None:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            self._known[job_id] = (job, shown)
        return job, shown


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
