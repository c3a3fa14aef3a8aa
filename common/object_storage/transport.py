"""Signed S3 requests with retries: what all operations have in common."""

from __future__ import annotations

import copy
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, NamedTuple, NoReturn, Self, TypeVar
from urllib.parse import quote, urlsplit

from common.errors import SourceForbidden, StorageError
from common.http_headers import parse_retry_after
from common.object_storage import s3_xml
from common.object_storage.cancellation import Cancellation
from common.object_storage.credentials import CredentialChain, Credentials
from common.object_storage.endpoints import Endpoints, proxy_of
from common.object_storage.errors import (
    BucketForbidden,
    CredentialsError,
    StorageBusy,
    error_for,
)
from common.object_storage.http_pool import Body, HttpPool
from common.object_storage.http_response import Response
from common.object_storage.options import StorageOptions
from common.object_storage.profile import StorageProfile
from common.object_storage.retries import retry
from common.object_storage.sigv4 import Signer
from common.observability import tracing
from common.observability.metrics import STORAGE_SECONDS

if TYPE_CHECKING:
    from prometheus_client import Histogram

#: Seconds that the storage may take for a write, a copy or a completion before it responds.
LONG_TIMEOUT = 120.0
#: 501 Not Implemented and 505 HTTP Version Not Supported (RFC 9110, 15.6), and 507 Insufficient
#: Storage (RFC 4918, 11.5).
_PERMANENT_STATUSES = (501, 505, 507)
#: Error codes that a later attempt may not get.
RETRYABLE_CODES = {
    "InternalError",
    "SlowDown",
    "ServiceUnavailable",
    "RequestTimeout",
    "OperationAborted",
}


#: A path that needs no percent-encoding.
_PLAIN_PATH = re.compile(r"[A-Za-z0-9/_.~-]*")

T = TypeVar("T")


def operation_name(
    method: str, key: str, query: Mapping[str, str], headers: Mapping[str, str]
) -> str:
    """Return the name of the S3 operation for metrics; operations of similar cost share one."""
    if "partNumber" in query:
        return "UploadPartCopy" if "x-amz-copy-source" in headers else "UploadPart"
    if "uploadId" in query or "uploads" in query:
        return f"{method} upload"
    return f"{method} object" if key else f"{method} bucket"


class _Stopwatch:
    """Measures the time until the status of a response is known, or until there is none."""

    __slots__ = ("_operation", "_started", "_stopped")

    def __init__(self, operation: str) -> None:
        self._operation = operation
        self._started = time.perf_counter()
        self._stopped = False

    def stop(self, status: int | str = "none") -> None:
        """Record the time; only the first call does."""
        if not self._stopped:
            self._stopped = True
            _duration_metric(self._operation, status).observe(time.perf_counter() - self._started)


@cache
def _duration_metric(operation: str, status: int | str) -> Histogram:
    return STORAGE_SECONDS.labels(operation, status)


class WrongRegion(StorageError):
    """The bucket is in another region, which the next attempt uses."""


class _Server(NamedTuple):
    """The connections to one server, and the signer for its region."""

    pool: HttpPool
    signer: Signer


class Transport:
    """Sends signed requests to one S3 endpoint, with path-style addresses. Thread safe."""

    def __init__(
        self,
        base_url: str,
        region: str,
        credentials: Callable[[], Credentials | None],
        *,
        endpoints: Endpoints | None = None,
        max_idle: int = 64,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """``endpoints`` finds buckets of other regions and access points.

        Without it, requests for buckets of another region go to the same server, signed for that
        region. ``max_idle``: connections that are kept for the next request. ``headers`` are those
        of every request.
        """
        self._credentials = credentials
        self._endpoints = endpoints
        self._max_idle = max_idle
        self._headers = dict(headers or {})
        self._home = self._server(base_url, region)
        self._prefix = urlsplit(base_url).path.rstrip("/")
        self._lock = threading.Lock()
        #: Region -> how to reach it, and bucket -> region, of buckets that are elsewhere.
        self._regions: dict[str, _Server] = {}
        self._bucket_regions: dict[str, str] = {}
        #: ARN or alias of an access point -> how to reach it, and the path prefix of its keys.
        self._access_points: dict[str, tuple[_Server, str]] = {}

    def close(self) -> None:
        """Close the idle connections."""
        access_points = (server for server, _ in self._access_points.values())
        for server in (self._home, *self._regions.values(), *access_points):
            server.pool.close()

    def is_redirected(self, bucket: str) -> bool:
        """Return whether a bucket was found in another region."""
        return bucket in self._bucket_regions

    @contextmanager
    def send(
        self,
        method: str,
        bucket: str,
        key: str = "",
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Body = b"",
        cancellation: Cancellation | None = None,
        timeout: float | None = None,
    ) -> Iterator[Response]:
        """Send a request once and yield its response; raise the error of an error status."""
        server, prefix = self._find(bucket)
        path = f"{prefix}/{key}" if key else prefix
        if not _PLAIN_PATH.fullmatch(path):
            path = quote(path, "/-_.~")
        query_string = ""
        if query:
            query_string = "&".join(
                f"{quote(n, '-_.~')}={quote(v, '-_.~')}" for n, v in sorted(query.items())
            )
        signed = server.signer.sign(
            method,
            path,
            query_string,
            {"host": server.pool.host, **self._headers, **(headers or {})},
        )
        target = f"{path}?{query_string}" if query_string else path
        operation = operation_name(method, key, query or {}, headers or {})
        stopwatch = _Stopwatch(operation)
        with tracing.span(f"S3 {operation}", kind="client", attributes={"bucket": bucket}) as span:
            try:
                with server.pool.request(
                    method, target, signed, body, cancellation=cancellation or Cancellation(),
                    timeout=timeout,
                ) as response:  # fmt: skip
                    stopwatch.stop(response.status)
                    span.set("http.response.status_code", response.status)
                    if response.status >= 300:
                        self._raise(response, server, bucket, method, key)
                    yield response
            finally:
                stopwatch.stop()

    def _raise(
        self, response: Response, server: _Server, bucket: str, method: str, key: str
    ) -> NoReturn:
        """Raise the error of a response, and learn from it what the next attempt needs."""
        document = response.read_all()
        code = s3_xml.error_code(document)
        if self._moves_to_region(bucket, server, response, document):
            raise WrongRegion(f"The bucket {bucket} is in another region")
        if response.status == 403 and server.signer.adjust_clock(response.headers.get("date")):
            raise StorageBusy("The clock differed from that of the storage")
        try:
            raise_error(response.status, code, method, f"{bucket}/{key}")
        except StorageBusy as error:
            error.retry_after = parse_retry_after(response.headers.get("retry-after"), time.time())
            raise
        except CredentialsError:
            if isinstance(self._credentials, CredentialChain):
                self._credentials.reload()
            raise

    def _server(self, url: str, region: str) -> _Server:
        ca_bundle = self._endpoints.ca_bundle if self._endpoints else None
        pool = HttpPool(url, max_idle=self._max_idle, proxy=proxy_of(url), ca_bundle=ca_bundle)
        return _Server(pool, Signer(self._credentials, region))

    def _find(self, bucket: str) -> tuple[_Server, str]:
        """Return the server of a bucket and the path of the bucket there."""
        if self._endpoints is not None and self._endpoints.has_own_host(bucket):
            with self._lock:
                if bucket not in self._access_points:
                    address = self._endpoints.bucket(bucket, style="virtual")
                    server = self._server(address.base_url, address.region)
                    self._access_points[bucket] = (server, address.path.rstrip("/"))
                return self._access_points[bucket]
        region = self._bucket_regions.get(bucket)
        server = self._home if region is None else self._regions[region]
        return server, f"{self._prefix}/{bucket}"

    def _moves_to_region(
        self, bucket: str, server: _Server, response: Response, document: bytes
    ) -> bool:
        """Remember the region that a response names; return False if it is the one just used.

        S3 names it in 301, 307 and 400 responses ("Request redirection and the REST API" in the
        Amazon S3 API reference). Location is not followed: the request is signed for one host.
        """
        name = response.headers.get("x-amz-bucket-region") or s3_xml.error_region(document)
        if response.status not in (301, 307, 400) or not name or name == server.signer.region:
            return False
        with self._lock:
            if name not in self._regions:
                if self._endpoints is not None and self._endpoints.is_aws:
                    self._regions[name] = self._server(self._endpoints.url(name), name)
                else:
                    self._regions[name] = _Server(server.pool, Signer(self._credentials, name))
            self._bucket_regions[bucket] = name
        return True

    def call(
        self,
        method: str,
        bucket: str,
        key: str = "",
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Body = b"",
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
                    raise_error(200, s3_xml.error_code(content), method, f"{bucket}/{key}")
                return response.headers, content

        return retry(lambda: self._in_right_region(attempt), cancellation)

    @staticmethod
    def _in_right_region(attempt: Callable[[], T]) -> T:
        """Call ``attempt``, and once more if it went to the wrong region."""
        try:
            return attempt()
        except WrongRegion:
            return attempt()


def raise_error(status: int, code: str, method: str, path: str) -> NoReturn:
    """Raise the error that a response stands for."""
    if (status >= 500 and status not in _PERMANENT_STATUSES) or (
        status == 429 or code in RETRYABLE_CODES
    ):
        busy = StorageBusy(f"The storage responded with {status} {code} to {method} {path}")
        busy.slow_down = status in (429, 503) or code == "SlowDown"
        raise busy
    error = error_for(
        412 if code == "PreconditionFailed" else status, code, f"{method} {path}"
    )  # fmt: skip
    if isinstance(error, SourceForbidden) and method not in ("GET", "HEAD"):
        raise BucketForbidden
    raise error


class Calls:
    """Base of the groups of operations on one endpoint."""

    def __init__(self, transport: Transport, options: StorageOptions | None = None) -> None:
        self._transport = transport
        self._options = options or StorageOptions()
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

    def _raise_if_unreadable(
        self, bucket: str, key: str, timeout: float | None, cancellation: Cancellation | None
    ) -> None:
        """Raise the error of an object that cannot be read, by its error code."""
        with self._transport.send(
            "GET", bucket, key,
            headers={"range": "bytes=0-0"}, cancellation=cancellation, timeout=timeout,
        ):  # fmt: skip
            return


def metadata_headers(metadata: Mapping[str, str] | None) -> dict[str, str]:
    """Return user metadata as headers."""
    return {f"x-amz-meta-{name}": value for name, value in (metadata or {}).items()}
