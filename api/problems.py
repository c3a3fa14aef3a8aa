"""Error responses: ``application/problem+json`` (RFC 9457), from one table of status codes."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

import orjson
import structlog
from flask import Flask, Response, g, request
from redis.exceptions import RedisError
from werkzeug.exceptions import HTTPException
from werkzeug.routing import RequestRedirect

from api import errors as http_errors
from common import errors
from common.job_store.errors import is_outage, log_failure
from common.jobs.presenter import iso

MEDIA_TYPE: Final = "application/problem+json"
#: Seconds after which clients may try again, by status, unless the error knows better.
RETRY_AFTER: Final = {429: 5, 503: 2}

#: The status of an error is that of the nearest class in its hierarchy.
STATUS: Final[dict[type[errors.LonghaulError], int]] = {
    errors.LonghaulError: 500,
    errors.DownloadError: 503,
    errors.BackendUnavailable: 503,
    errors.JobNotFound: 404,
    errors.LinkNotFound: 404,
    errors.DeliveryNotFound: 404,
    errors.LinkGone: 410,
    errors.TooManyLinks: 409,
    errors.JobConflict: 409,
    errors.IdempotencyKeyReused: 422,
    errors.TooManyActiveJobs: 429,
    errors.QuotaExceeded: 429,
    errors.RateLimited: 429,
    errors.QueueFull: 503,
    http_errors.RequestError: 400,
    http_errors.Unauthorized: 401,
    http_errors.Forbidden: 403,
    http_errors.FilesForbidden: 403,
    http_errors.PriorityNotAllowed: 403,
    http_errors.HostNotAllowed: 421,
    http_errors.HistoryDisabled: 404,
    http_errors.ArchiveDeliveryUnavailable: 501,
    http_errors.WebhookSecretsDisabled: 404,
    http_errors.UnsupportedMediaType: 415,
    http_errors.WebSocketVersionUnsupported: 426,
    http_errors.JobNotReady: 404,
    http_errors.JobFailed: 409,
    http_errors.JobCancelled: 410,
    http_errors.JobExpired: 410,
    http_errors.ArchiveDeleted: 410,
}

#: What the web server and the framework reject by themselves: status, code, meaning.
_FRAMEWORK_ERRORS: Final = (
    (400, "MALFORMED_REQUEST", "The request is not valid HTTP, or not supported by this server."),
    (404, "NOT_FOUND", "No resource exists at this URL."),
    (405, "METHOD_NOT_ALLOWED", "Method not allowed."),
    (408, "REQUEST_TIMEOUT", "The request did not arrive in time."),
    (
        412,
        "PRECONDITION_FAILED",
        "A precondition of the request failed, such as If-Match. Get the current ETag, then try "
        "again.",
    ),
    (413, "BODY_TOO_LARGE", "The request body is too large."),
    (414, "URI_TOO_LONG", "The URL is too long."),
    (416, "RANGE_NOT_SATISFIABLE", "The archive does not have the requested bytes."),
    (431, "REQUEST_HEADER_FIELDS_TOO_LARGE", "A request header is too large."),
)
#: Status -> code and meaning of what the framework rejects. Its 400 describes itself.
_BY_STATUS: Final = {
    status: (code, meaning) for status, code, meaning in _FRAMEWORK_ERRORS if status > 400
}
_TITLES: Final = {"MALFORMED_JSON": "Malformed JSON"}

UNEXPECTED: Final = "An unexpected error occurred on the server."

log = structlog.get_logger(__name__)


def install(app: Flask) -> None:
    """Register the error handlers."""
    app.register_error_handler(errors.LonghaulError, from_error)
    app.register_error_handler(RedisError, _from_redis_error)
    app.register_error_handler(HTTPException, _from_framework_error)
    app.register_error_handler(Exception, _from_unexpected_error)


def catalog() -> list[dict[str, Any]]:
    """Return every error code with its status and meaning, for the page ``/docs/problems``."""
    raised = [
        {
            "code": kind.code,
            "status": status_of(kind),
            "meaning": (kind.__doc__ or "").splitlines()[0],
            "retryable": kind.retryable,
        }
        for kind in _kinds()
    ]
    others = [
        {"code": code, "status": status, "meaning": meaning}
        for status, code, meaning in (
            *_FRAMEWORK_ERRORS,
            (500, errors.LonghaulError.code, UNEXPECTED),
        )
    ]
    return sorted(raised + others, key=lambda problem: (problem["status"], problem["code"]))


def _kinds() -> Iterator[type[errors.LonghaulError]]:
    """Yield the errors that a response can contain: those with a code of their own and a status."""
    for kind in {**vars(errors), **vars(http_errors)}.values():
        if (
            isinstance(kind, type)
            and issubclass(kind, errors.LonghaulError)
            # A response for one of these is that for ``BackendUnavailable``.
            and not issubclass(kind, errors.DownloadError)
            and kind is not http_errors.RequestError
            and "code" in vars(kind)
            and status_of(kind) != STATUS[errors.LonghaulError]
        ):
            yield kind


def status_of(kind: type[errors.LonghaulError]) -> int:
    """Return the HTTP status of an error class."""
    return next(STATUS[base] for base in kind.__mro__ if base in STATUS)


def from_error(error: errors.LonghaulError) -> Response:
    """Return the response for an error that Longhaul raised deliberately."""
    if isinstance(error, errors.DownloadError):
        log.warning("dependency failed", request_id=g.get("request_id"), error=error.message)
        error = errors.BackendUnavailable()
    status = status_of(type(error))
    members: dict[str, Any] = {}
    if isinstance(error, http_errors.ValidationFailed):
        members["errors"] = error.errors
    if isinstance(error, http_errors.FilesForbidden):
        members["file_ids"] = error.file_ids
    if isinstance(error, http_errors.DailyQuotaExceeded):
        members["resetAt"] = iso(error.resets_at)
    if isinstance(error, http_errors.JobStateError):
        members["job"] = error.job
    response = _problem(
        status, error.code, error.message, retryable=error.retryable, members=members
    )
    if isinstance(error, http_errors.Unauthorized):
        response.headers["WWW-Authenticate"] = error.challenge
    if isinstance(error, http_errors.WebSocketVersionUnsupported):
        response.headers.update(error.headers)
    seconds = RETRY_AFTER.get(status) if error.retry_after is None else error.retry_after
    if seconds is not None:
        response.headers["Retry-After"] = str(max(1, round(seconds)))
    return response


def _from_redis_error(error: RedisError) -> Response:
    log_failure(log, "request failed", error, request_id=g.get("request_id"))
    if not is_outage(error):
        return from_error(errors.LonghaulError(UNEXPECTED))
    return from_error(errors.BackendUnavailable())


def _from_framework_error(error: HTTPException) -> Response | HTTPException:
    status = error.code or 500
    if isinstance(error, RequestRedirect) or status < 400:
        return error
    known = HTTPStatus(status)
    code, detail = _BY_STATUS.get(status) or (known.name, error.description or known.phrase)
    response = _problem(status, code, detail)
    for name, value in error.get_headers():
        if name != "Content-Type":
            response.headers[name] = value
    return response


def _from_unexpected_error(error: Exception) -> Response:
    log.exception("unexpected error", request_id=g.get("request_id"), exc_info=error)
    return from_error(errors.LonghaulError(UNEXPECTED))


def _problem(
    status: int,
    code: str,
    detail: str,
    *,
    retryable: bool = False,
    members: dict[str, Any] | None = None,
) -> Response:
    body = {
        "type": f"/docs/problems#{code}",
        "title": _TITLES.get(code, code.replace("_", " ").capitalize()),
        "status": status,
        "detail": detail,
        "instance": quote(request.path),
        "code": code,
        "retryable": retryable,
        "requestId": g.get("request_id"),
        **(members or {}),
    }
    return Response(orjson.dumps(body), status, mimetype=MEDIA_TYPE)
