"""The S3 calls that carry a job's data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from common.errors import NetworkError, StorageError
from common.storage import documents
from common.storage.calls import LONG_CALL, Calls, metadata_headers
from common.storage.documents import Listed, ObjectInfo
from common.storage.response import Response
from common.storage.stop import Stop
from common.storage.transport import retrying
from common.storage.wire import Buffer


class ObjectCalls(Calls):
    """Calls on objects. Thread safe; every call may be ended by ``stop`` from another thread.

    Calls raise ObjectMissing for 404, FileChanged for a failed If-Match, SourceForbidden for 403,
    NetworkError and StorageError for the rest, after the retries that could have helped.
    """

    def head(
        self, bucket: str, key: str, *, timeout: float | None = None, stop: Stop | None = None
    ) -> ObjectInfo:
        headers, _ = self._transport.call(
            "HEAD", bucket, key,
            headers={"x-amz-checksum-mode": "ENABLED"}, stop=stop or Stop(), timeout=timeout,
        )  # fmt: skip
        return documents.info(key, headers)

    def list_objects(
        self,
        bucket: str,
        *,
        prefix: str = "",
        start_after: str = "",
        limit: int = 1000,
        stop: Stop | None = None,
    ) -> list[Listed]:
        """At most ``limit`` (≤ 1,000) objects behind ``start_after``, in the order of keys."""
        query = {"list-type": "2", "max-keys": str(limit), "prefix": prefix}
        if start_after:
            query["start-after"] = start_after
        _, body = self._transport.call("GET", bucket, query=query, stop=stop or Stop())
        return list(documents.listed(documents.parse(body)))

    def read_into(
        self,
        bucket: str,
        key: str,
        view: memoryview,
        *,
        start: int = 0,
        if_match: str | None = None,
        stop: Stop | None = None,
        progress: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Fill ``view`` with the object's bytes from ``start`` on, over broken connections.

        ``progress`` is told the bytes of every read.
        """
        stop = stop or Stop()
        done = 0

        def attempt() -> None:
            nonlocal done
            with self.open(
                bucket, key, start=start + done, end=start + len(view), if_match=if_match, stop=stop
            ) as response:
                while done < len(view):
                    count = response.readinto(view[done:])
                    if count == 0:
                        raise NetworkError("The storage sent less than the object holds")
                    done += count
                    progress(count)

        if view:
            retrying(attempt, stop, progress=lambda: done)

    @contextmanager
    def open(
        self,
        bucket: str,
        key: str,
        *,
        start: int = 0,
        end: int | None = None,
        if_match: str | None = None,
        stop: Stop | None = None,
    ) -> Iterator[Response]:
        """The object's bytes of ``[start, end)`` as one answer, without retries."""
        headers = {} if if_match is None else {"if-match": if_match}
        if start or end is not None:
            headers["range"] = f"bytes={start}-" + ("" if end is None else str(end - 1))
        with self._transport.open(
            "GET", bucket, key, headers=headers, stop=stop or Stop()
        ) as response:
            if start and response.status != 206:
                raise StorageError("The storage does not serve ranges")
            yield response

    def put(
        self,
        bucket: str,
        key: str,
        body: Buffer,
        *,
        content_type: str = "application/octet-stream",
        metadata: Mapping[str, str] | None = None,
        crc32: int | None = None,
        stop: Stop | None = None,
    ) -> str:
        """Write a whole object; returns its ETag. The store checks ``crc32`` where it is given."""
        headers = {"content-type": content_type, **metadata_headers(metadata)}
        if crc32 is not None:
            headers["x-amz-checksum-crc32"] = documents.encode_crc32(crc32)
        answer, _ = self._transport.call(
            "PUT", bucket, key, headers=headers, body=body, stop=stop or Stop(), timeout=LONG_CALL
        )
        return answer.get("etag", "")

    def delete_many(self, bucket: str, keys: Sequence[str], *, stop: Stop | None = None) -> None:
        """Remove at most 1,000 objects by one call; those that are gone already are no error."""
        body = documents.delete_request(keys)
        headers = {"content-type": "application/xml", "content-md5": documents.md5(body)}
        self._transport.call(
            "POST", bucket, query={"delete": ""}, headers=headers, body=body, stop=stop or Stop()
        )

    def delete(self, bucket: str, key: str, *, stop: Stop | None = None) -> None:
        """Remove an object; one that is gone already is no error."""
        self._transport.call("DELETE", bucket, key, stop=stop or Stop())
