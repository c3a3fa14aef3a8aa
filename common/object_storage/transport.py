"""Signed S3 requests with retries: what every call of the store has in common."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar
from urllib.parse import quote, urlsplit

from common.errors import DownloadError, NetworkError, StorageError
from common.object_storage import s3_xml
from common.object_storage.cancellation import Cancellation
from common.object_storage.errors import error_for
from common.object_storage.http_pool import Buffer, HttpPool
from common.object_storage.http_response import Response
from common.object_storage.sigv4 import Credentials, Signer
from common.observability import tracing
from common.observability.metrics import STORAGE_SECONDS

ATTEMPTS = 5
FIRST_DELAY = 0.1
LONGEST_DELAY = 2.0
BUSY_CODES = {
    "InternalError",
    "SlowDown",
    "ServiceUnavailable",
    "RequestTimeout",
    "OperationAborted",
}

T = TypeVar("T")


class Busy(StorageError):
    """The storage could not serve the request at this moment."""


PASSING: tuple[type[DownloadError], ...] = (Busy, NetworkError)


def retrying(
    attempt: Callable[[], T],
    cancellation: Cancellation,
    *,
    progress: Callable[[], int] = lambda: 0,
    on: tuple[type[DownloadError], ...] = PASSING,
) -> T:
    """Call until it succeeds; five failures ``on`` which it may, without progress, end it.

    Waits 0.2 s, 0.4 s, … at most 2 s with full jitter; a set ``cancellation`` ends the waits.
    """
    failures, reached = 0, progress()
    while True:
        try:
            return attempt()
        except on:
            if progress() > reached:
                failures, reached = 0, progress()
            failures += 1
            if failures >= ATTEMPTS:
                raise
            delay = min(LONGEST_DELAY, FIRST_DELAY * 2**failures)
            cancellation.wait(random.uniform(0, delay))  # noqa: S311


def operation_of(
    method: str, key: str, query: Mapping[str, str], headers: Mapping[str, str]
) -> str:
    """What S3 calls such a request, as far as that tells requests of one cost from others."""
    if "partNumber" in query:
        return "UploadPartCopy" if "x-amz-copy-source" in headers else "UploadPart"
    if "uploadId" in query or "uploads" in query:
        return f"{method} upload"
    return f"{method} object" if key else f"{method} bucket"


@contextmanager
def _watched(operation: str, bucket: str) -> Iterator[Callable[[int], None]]:
    """Time a request until the status of its answer is told, and show it in the trace."""
    began = time.perf_counter()
    status: int | None = None

    def answered(told: int) -> None:
        nonlocal status
        status = told
        STORAGE_SECONDS.labels(operation, told).observe(time.perf_counter() - began)
        span.set("http.response.status_code", told)

    with tracing.span(f"S3 {operation}", kind="client", attributes={"bucket": bucket}) as span:
        try:
            yield answered
        finally:
            if status is None:
                STORAGE_SECONDS.labels(operation, "none").observe(time.perf_counter() - began)


class Transport:
    """One S3 endpoint, addressed by path. Thread safe."""

    def __init__(
        self, base_url: str, region: str, credentials: Callable[[], Credentials | None]
    ) -> None:
        self._wire = HttpPool(base_url)
        self._prefix = urlsplit(base_url).path.rstrip("/")
        self._signer = Signer(credentials, region)

    def close(self) -> None:
        self._wire.close()

    @contextmanager
    def open(
        self,
        method: str,
        bucket: str,
        key: str = "",
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Buffer = b"",
        cancellation: Cancellation,
        timeout: float | None = None,
    ) -> Iterator[Response]:
        """One request, once; raises the error that its status stands for."""
        path = quote(
            f"{self._prefix}/{bucket}/{key}" if key else f"{self._prefix}/{bucket}", "/-_.~"
        )
        query_string = "&".join(
            f"{quote(n, '-_.~')}={quote(v, '-_.~')}" for n, v in sorted((query or {}).items())
        )
        signed = self._signer.sign(
            method, path, query_string, {"host": self._wire.host, **(headers or {})}
        )
        target = f"{path}?{query_string}" if query_string else path
        with (
            _watched(operation_of(method, key, query or {}, headers or {}), bucket) as answered,
            self._wire.exchange(
                method, target, signed, body, cancellation=cancellation, timeout=timeout
            ) as response,
        ):
            answered(response.status)
            if response.status >= 300:
                code = s3_xml.error_code(response.read_all())
                if response.status == 403 and self._signer.follow(response.headers.get("date")):
                    raise Busy("The storage's clock shows another time: signing by that")
                refuse(response.status, code, f"{method} {bucket}/{key}")
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
        cancellation: Cancellation,
        timeout: float | None = None,
    ) -> tuple[dict[str, str], bytes]:
        """A request that may be repeated; gives the headers and the whole body of the answer.

        An ``<Error>`` behind the status 200, as copies and completions may send, is an error too.
        """

        def attempt() -> tuple[dict[str, str], bytes]:
            with self.open(
                method, bucket, key,
                query=query, headers=headers, body=body, cancellation=cancellation, timeout=timeout,
            ) as response:  # fmt: skip
                answer = response.read_all()
                if b"<Error>" in answer[:200]:
                    refuse(200, s3_xml.error_code(answer), f"{method} {bucket}/{key}")
                return response.headers, answer

        return retrying(attempt, cancellation)


def refuse(status: int, code: str, what: str) -> None:
    """Raise what an error answer stands for."""
    if status >= 500 or status == 429 or code in BUSY_CODES:
        raise Busy(f"The storage answered {status} {code} to {what}")
    raise error_for(412 if code == "PreconditionFailed" else status, code, what)
