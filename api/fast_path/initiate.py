"""The plain request for a download, answered ahead of Flask.

Of the time that accepting a job takes, Flask's routing, request and response objects and the
schema's machinery were two thirds. A body of the members that programs send, each as it has to be,
without anything to wait for, is accepted here: by the same limiter, store, presenter and headers,
byte for byte as the route would (tests/unit/api/fast_path/test_initiate.py). Everything else goes to
Flask, also to say why it was refused.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import orjson
from redis.exceptions import RedisError
from werkzeug.datastructures import EnvironHeaders
from werkzeug.sansio.utils import get_current_url, get_host

from api import job_creation, metrics, parsing, request_hooks
from api.rate_limits import refuse_excess
from api.schemas.fields import METADATA_BYTES
from api.server.raw_responses import RawResponse
from common.errors import LonghaulError
from common.jobs.model import JobSpec, Priority
from common.observability import tracing

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from api.dependencies import Dependencies, FileIdLimits
    from common.job_store.jobs import Accepted

RULES: Final = frozenset({"/v1/download/initiate", "/v1/download/async"})
#: Bytes: a thousand file ids take twelve thousand.
LARGEST_BODY: Final = 16_384

_MEMBERS: Final = frozenset({"file_ids", "priority", "metadata"})
_SCALARS: Final = frozenset({str, int, float, bool, type(None)})
_PRIORITIES: Final = {priority.value: priority for priority in Priority}
_HOST: Final = re.compile(r"[a-z0-9.-]+(?::[0-9]{1,5})?\Z")


class InitiateFastPath:
    """WSGI middleware around Flask's application."""

    def __init__(
        self, application: WSGIApplication, context: Dependencies, *, most_bytes: int
    ) -> None:
        """``most_bytes``: of a body; Flask refuses a longer one."""
        self._application = application
        self._context = context
        self._most_bytes = min(most_bytes, LARGEST_BODY)

    def __call__(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] in RULES and self._is_plain(environ):
            answer = self._answer(environ)
            if answer is not None:
                return answer.give(environ, start)
        return self._application(environ, start)

    def _is_plain(self, environ: WSGIEnvironment) -> bool:
        """Whether nothing in the request's head needs more than to be read."""
        return (
            environ["REQUEST_METHOD"] == "POST"
            and environ.get("CONTENT_TYPE") == "application/json"
            and not environ.get("QUERY_STRING")
            and "HTTP_PREFER" not in environ
            and 0 < int(environ.get("CONTENT_LENGTH") or 0) <= self._most_bytes
            and parsing.is_idempotency_key(environ.get("HTTP_IDEMPOTENCY_KEY", "-"))
            and _HOST.match(environ.get("HTTP_HOST", "")) is not None
        )

    def _answer(self, environ: WSGIEnvironment) -> RawResponse | None:
        began = time.perf_counter()
        context = self._context
        spec = _spec(environ, context.file_ids)
        if spec is None:
            return None
        address = environ.get("REMOTE_ADDR") or "unknown"
        creation = None
        try:
            user = context.authenticator.identify(EnvironHeaders(environ)).user
        except LonghaulError:
            return None
        rate = context.limiter.any_request(address)
        try:
            context.limiter.exchange()
            refuse_excess(rate)
            creation = context.limiter.creating(address)
            accepted = job_creation.accept(
                context,
                creation,
                user,
                spec,
                key=environ.get("HTTP_IDEMPOTENCY_KEY"),
                traceparent=tracing.sane(environ.get("HTTP_TRACEPARENT")),
            )
        except (LonghaulError, RedisError) as error:
            # It is counted, and may not be tried twice.
            environ[request_hooks.FAST_PATH_REJECTION] = request_hooks.FastPathRejection(
                error, creation.rate if creation else rate
            )
            return None
        base = context.public_url or _host_url(environ["wsgi.url_scheme"], environ["HTTP_HOST"])
        lines, body = self._accepted(accepted, base)
        lines += request_hooks.common_lines(
            environ, creation.rate, caching="Cache-Control: no-store\r\n"
        )
        metrics.observe("POST", environ["PATH_INFO"], 202, time.perf_counter() - began)
        return RawResponse("202 ACCEPTED", lines, body)

    def _accepted(self, accepted: Accepted, base: str) -> tuple[str, bytes]:
        """The headers of its own, and the body."""
        described = job_creation.description(
            self._context,
            accepted.job,
            base,
            job_creation.message(accepted),
            deduplicated=accepted.outcome == "deduplicated",
        )
        body = orjson.dumps(described)
        replayed = "Idempotent-Replayed: true\r\n" if accepted.outcome == "replayed" else ""
        lines = (
            f"{replayed}Location: {described['statusUrl']}\r\n"
            f"Retry-After: {self._context.poll_after}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        )
        return lines, body


def _spec(environ: WSGIEnvironment, rules: FileIdLimits) -> JobSpec | None:
    """What is asked for; None where the schema has to look at it. The body can be read again."""
    stream = environ["wsgi.input"]
    body = stream.read()
    stream.seek(0)
    try:
        return plain_spec(orjson.loads(body), rules)
    except orjson.JSONDecodeError:
        return None


def plain_spec(data: Any, rules: FileIdLimits) -> JobSpec | None:
    """The same as the schema makes of it, if nothing in it is wrong or unusual."""
    if type(data) is not dict or not data.keys() <= _MEMBERS:
        return None
    ids = data.get("file_ids")
    priority = data.get("priority", "normal")
    metadata = data.get("metadata", {})
    if not (
        type(ids) is list
        and 1 <= len(ids) <= rules.most
        and all(type(each) is int and rules.smallest <= each <= rules.largest for each in ids)
        and type(priority) is str
        and priority in _PRIORITIES
        and _is_flat_and_small(metadata)
    ):
        return None
    return JobSpec(
        file_ids=tuple(dict.fromkeys(ids)), priority=_PRIORITIES[priority], metadata=metadata
    )


def _is_flat_and_small(metadata: Any) -> bool:
    if type(metadata) is not dict:
        return False
    if not metadata:
        return True
    return (
        all(type(value) in _SCALARS for value in metadata.values())
        and len(orjson.dumps(metadata)) <= METADATA_BYTES
    )


@lru_cache(maxsize=256)
def _host_url(scheme: str, host: str) -> str:
    """As Flask tells it."""
    return get_current_url(scheme, get_host(scheme, host)).rstrip("/")
