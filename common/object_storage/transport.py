"""Signed S3 requests with retries: what all operations have in common."""

from __future__ import annotations

import copy
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Self, TypeVar
from urllib.parse import quote, urlsplit

from common.errors import DownloadError, NetworkError, StorageError
from common.object_storage import s3_xml
from common.object_storage.cancellation import Cancellation
from common.object_storage.credentials import CredentialChain, Credentials
from common.object_storage.errors import CredentialsError, error_for
from common.object_storage.http_pool import Buffer, HttpPool
from common.object_storage.http_response import Response
from common.object_storage.profile import StorageProfile
from common.object_storage.sigv4 import Signer
from common.observability import tracing
from common.observability.metrics import STORAGE_SECONDS

MAX_ATTEMPTS = 5
FIRST_DELAY = 0.1
MAX_DELAY = 2.0
#: Longest Retry-After that is waited for, seconds.
MAX_REQUESTED_DELAY = 10.0
#: Seconds that the storage may take for a write, a copy or a completion before it responds.
LONG_TIMEOUT = 120.0
#: 501 Not Implemented and 505 HTTP Version Not Supported (RFC 9110, 15.6).
_PERMANENT_STATUSES = (501, 505)
#: Error codes that a later attempt may not get.
RETRYABLE_CODES = {
    "InternalError",
    "SlowDown",
    "ServiceUnavailable",
    "RequestTimeout",
    "OperationAborted",
}

T = TypeVar("T")


class StorageBusy(StorageError):
    """The storage is overloaded or temporarily unavailable."""


RETRYABLE_ERRORS: tuple[type[DownloadError], ...] = (StorageBusy, NetworkError)


def retry(
    attempt: Callable[[], T],
    cancellation: Cancellation,
    *,
    progress: Callable[[], int] = lambda: 0,
    on: tuple[type[DownloadError], ...] = RETRYABLE_ERRORS,
) -> T:
    """Call ``attempt`` until it succeeds or fails five times in a row without progress.

    Only errors of the types in ``on`` are retried. The delays grow from 0.2 s to 2 s, with full
    jitter, after the delay that a server asks for; ``cancellation`` ends them. A delay of more than
    10 s is left to the job's next attempt, which does not occupy a worker until then.
    """
    failures, last_progress = 0, progress()
    while True:
        try:
            return attempt()
        except on as error:
            if progress() > last_progress:
                failures, last_progress = 0, progress()
            failures += 1
            requested_delay = error.retry_after or 0.0
            if failures >= MAX_ATTEMPTS or requested_delay > MAX_REQUESTED_DELAY:
                raise
            delay = min(MAX_DELAY, FIRST_DELAY * 2**failures)
            cancellation.wait(requested_delay + random.uniform(0, delay))  # noqa: S311


def operation_name(
    method: str, key: str, query: Mapping[str, str], headers: Mapping[str, str]
) -> str:
    """Return the name of the S3 operation for metrics; operations of similar cost share one."""
    if "partNumber" in query:
        return "UploadPartCopy" if "x-amz-copy-source" in headers else "UploadPart"
    if "uploadId" in query or "uploads" in query:
        return f"{method} upload"
    return f"{method} object" if key else f"{method} bucket"


@contextmanager
def _measured(operation: str, bucket: str) -> Iterator[Callable[[int], None]]:
    """Measure the time until the response's status is reported, and record it in the trace."""
    started = time.perf_counter()
    status: int | None = None

    def report_status(value: int) -> None:
        nonlocal status
        status = value
        STORAGE_SECONDS.labels(operation, value).observe(time.perf_counter() - started)
        span.set("http.response.status_code", value)

    with tracing.span(f"S3 {operation}", kind="client", attributes={"bucket": bucket}) as span:
        try:
            yield report_status
        finally:
            if status is None:
                STORAGE_SECONDS.labels(operation, "none").observe(time.perf_counter() - started)


class Transport:
    """Sends signed requests to one S3 endpoint, with path-style addresses. Thread safe."""

    def __init__(
        self, base_url: str, region: str, credentials: Callable[[], Credentials | None]
    ) -> None:
        self._pool = HttpPool(base_url)
        self._prefix = urlsplit(base_url).path.rstrip("/")
        self._credentials = credentials
        self._signer = Signer(credentials, region)

    def close(self) -> None:
        """Close the idle connections."""
        self._pool.close()

    @contextmanager
    def send(
        self,
        method: str,
        bucket: str,
        key: str = "",
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Buffer = b"",
        cancellation: Cancellation | None = None,
        timeout: float | None = None,
    ) -> Iterator[Response]:
        """Send a request once and yield its response; raise the error of an error status."""
        path = quote(
            f"{self._prefix}/{bucket}/{key}" if key else f"{self._prefix}/{bucket}", "/-_.~"
        )
        query_string = "&".join(
            f"{quote(n, '-_.~')}={quote(v, '-_.~')}" for n, v in sorted((query or {}).items())
        )
        signed = self._signer.sign(
            method, path, query_string, {"host": self._pool.host, **(headers or {})}
        )
        target = f"{path}?{query_string}" if query_string else path
        with (
            _measured(
                operation_name(method, key, query or {}, headers or {}), bucket
            ) as report_status,
            self._pool.request(
                method, target, signed, body, cancellation=cancellation or Cancellation(),
                timeout=timeout,
            ) as response,
        ):  # fmt: skip
            report_status(response.status)
            if response.status >= 300:
                code = s3_xml.error_code(response.read_all())
                if response.status == 403 and self._signer.adjust_clock(
                    response.headers.get("date")
                ):
                    raise StorageBusy("The clock differed from that of the storage")
                try:
                    raise_error(response.status, code, f"{method} {bucket}/{key}")
                except CredentialsError:
                    if isinstance(self._credentials, CredentialChain):
                        self._credentials.reload()
                    raise
            yield response

    def call(
        self,
        method: str,
        bucket: str,
        key: str = "",
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Buffer = b"",
        cancellation: Cancellation | None = None,
        timeout: float | None = None,
    ) -> tuple[dict[str, str], bytes]:
        """Send a request, with retries, and return the response's headers and whole body.

        Copies and completions may send the status 200 and blanks before they are done, and an
        ``<Error>`` later ("CompleteMultipartUpload" in the S3 API reference). It is raised, too.
        """

        cancellation = cancellation or Cancellation()

        def attempt() -> tuple[dict[str, str], bytes]:
            with self.send(
                method, bucket, key,
                query=query, headers=headers, body=body, cancellation=cancellation, timeout=timeout,
            ) as response:  # fmt: skip
                content = response.read_all()
                if s3_xml.is_error(content):
                    raise_error(200, s3_xml.error_code(content), f"{method} {bucket}/{key}")
                return response.headers, content

        return retry(attempt, cancellation)


def raise_error(status: int, code: str, request: str) -> None:
    """Raise the error that a response stands for; ``request`` names the call in its message."""
    if (status >= 500 and status not in _PERMANENT_STATUSES) or (
        status == 429 or code in RETRYABLE_CODES
    ):
        raise StorageBusy(f"The storage responded with {status} {code} to {request}")
    raise error_for(412 if code == "PreconditionFailed" else status, code, request)


class Calls:
    """Base of the groups of operations on one endpoint."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        #: What the storage supports; set once a worker has tested it.
        self.profile = StorageProfile()

    def with_profile(self, profile: StorageProfile) -> Self:
        """Return the same storage with another profile; both share their connections."""
        other = copy.copy(self)
        other.profile = profile
        return other

    def close(self) -> None:
        """Close the idle connections."""
        self._transport.close()


def metadata_headers(metadata: Mapping[str, str] | None) -> dict[str, str]:
    """Return user metadata as headers."""
    return {f"x-amz-meta-{name}": value for name, value in (metadata or {}).items()}
