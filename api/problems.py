"""Every refusal as ``application/problem+json`` (RFC 9457), by one handler and one table."""

from __future__ import annotations

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

MEDIA_TYPE: Final = "application/problem+json"
#: Seconds until a refused call is worth another try, where nothing better is known.
RETRY_AFTER: Final = {429: 5, 503: 2}

#: The nearest class in an error's ancestry decides.
STATUS: Final[dict[type[errors.LonghaulError], int]] = {
    errors.LonghaulError: 500,
    errors.DownloadError: 503,
    errors.BackendUnavailable: 503,
    errors.JobNotFound: 404,
    errors.JobConflict: 409,
    errors.IdempotencyKeyReused: 422,
    errors.TooManyActiveJobs: 429,
    errors.RateLimited: 429,
    errors.QueueFull: 503,
    http_errors.RequestError: 400,
    http_errors.Unauthorized: 401,
    http_errors.Forbidden: 403,
    http_errors.HistoryDisabled: 404,
    http_errors.UnsupportedMediaType: 415,
    http_errors.JobNotReady: 404,
    http_errors.JobFailed: 409,
    http_errors.JobCancelled: 410,
    http_errors.JobExpired: 410,
}

#: What the web server and the framework refuse by themselves: status, code, meaning.
_BEFORE_US: Final = (
    (400, "MALFORMED_REQUEST", "The bytes are no HTTP request that is served here."),
    (404, "NOT_FOUND", "There is nothing under this address."),
    (
        405,
        "METHOD_NOT_ALLOWED",
        "The address does not know this method; `Allow` names those it does.",
    ),
    (413, "BODY_TOO_LARGE", "The body is longer than what is read."),
)
_FRAMEWORK_CODES: Final = {status: code for status, code, _ in _BEFORE_US if status > 400}
_TITLES: Final = {"MALFORMED_JSON": "Malformed JSON"}

UNEXPECTED: Final = "Something went wrong on our side."

log = structlog.get_logger(__name__)


def install(app: Flask) -> None:
    app.register_error_handler(errors.LonghaulError, from_error)
    app.register_error_handler(RedisError, _from_redis)
    app.register_error_handler(HTTPException, _from_framework)
    app.register_error_handler(Exception, _from_the_unexpected)


def catalogue() -> list[dict[str, Any]]:
    """Every code with its status and meaning, for people."""
    kinds: list[type[errors.LonghaulError]] = [
        *STATUS,
        http_errors.ValidationFailed,
        http_errors.MalformedJson,
    ]
    raised = [
        {
            "code": kind.code,
            "status": status_of(kind),
            "meaning": (kind.__doc__ or "").splitlines()[0],
            "retryable": kind.retryable,
        }
        for kind in kinds
        if kind not in (errors.LonghaulError, errors.DownloadError, http_errors.RequestError)
    ]
    others = [
        {"code": code, "status": status, "meaning": meaning}
        for status, code, meaning in (*_BEFORE_US, (500, errors.LonghaulError.code, UNEXPECTED))
    ]
    return sorted(raised + others, key=lambda problem: (problem["status"], problem["code"]))


def _framework_code(status: int) -> str:
    return _FRAMEWORK_CODES.get(status, HTTPStatus(status).name)


def status_of(kind: type[errors.LonghaulError]) -> int:
    return next(STATUS[base] for base in kind.__mro__ if base in STATUS)


def from_error(error: errors.LonghaulError) -> Response:
    """The answer for anything that this product raises on purpose."""
    if isinstance(error, errors.DownloadError):
        log.warning("a backend failed", request_id=g.get("request_id"), error=error.message)
        error = errors.BackendUnavailable()
    status = status_of(type(error))
    extras: dict[str, Any] = {}
    if isinstance(error, http_errors.ValidationFailed):
        extras["errors"] = error.errors
    if isinstance(error, http_errors.JobAnswer):
        extras["job"] = error.job
    answer = _problem(status, error.code, error.message, error.retryable, extras)
    if isinstance(error, http_errors.Unauthorized):
        answer.headers["WWW-Authenticate"] = error.challenge
    seconds = RETRY_AFTER.get(status) if error.retry_after is None else error.retry_after
    if seconds is not None:
        answer.headers["Retry-After"] = str(max(1, round(seconds)))
    return answer


def _from_redis(error: RedisError) -> Response:
    log.warning("the job store failed", request_id=g.get("request_id"), error=repr(error))
    return from_error(errors.BackendUnavailable())


def _from_framework(error: HTTPException) -> Response | HTTPException:
    status = error.code or 500
    if isinstance(error, RequestRedirect) or status < 400:
        return error
    code = _framework_code(status)
    answer = _problem(status, code, error.description or HTTPStatus(status).phrase, False, {})
    for name, value in error.get_headers():
        if name != "Content-Type":
            answer.headers[name] = value
    return answer


def _from_the_unexpected(error: Exception) -> Response:
    log.exception("unexpected error", request_id=g.get("request_id"), exc_info=error)
    return from_error(errors.LonghaulError(UNEXPECTED))


def _problem(
    status: int, code: str, detail: str, retryable: bool, extras: dict[str, Any]
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
        **extras,
    }
    return Response(orjson.dumps(body), status, mimetype=MEDIA_TYPE)
