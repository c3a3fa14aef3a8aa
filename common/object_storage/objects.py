"""The S3 calls that carry a job's data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from common.errors import NetworkError, StorageError
from common.object_storage import s3_xml
from common.object_storage.calls import LONG_CALL, Calls, metadata_headers
from common.object_storage.cancellation import Cancellation
from common.object_storage.http_pool import Buffer
from common.object_storage.http_response import Response
from common.object_storage.s3_xml import ListedObject, ObjectInfo
from common.object_storage.transport import retrying


class ObjectCalls(Calls):
    """Calls on objects. Thread safe; every call may be ended by ``cancellation`` from another thread.

    Calls raise ObjectMissing for 404, FileChanged for a failed If-Match, SourceForbidden for 403,
    NetworkError and StorageError for the rest, after the retries that could have helped.
    """

    def head_object(
        self,
        bucket: str,
        key: str,
        *,
        timeout: float | None = None,
        cancellation: Cancellation | None = None,
    ) -> ObjectInfo:
        headers, _ = self._transport.call(
            "HEAD", bucket, key,
            headers={"x-amz-checksum-mode": "ENABLED"}, cancellation=cancellation or Cancellation(), timeout=timeout,
        )  # fmt: skip
        return s3_xml.info(key, headers)

    def list_objects_v2(
        self,
        bucket: str,
        *,
        prefix: str = "",
        start_after: str = "",
        limit: int = 1000,
        cancellation: Cancellation | None = None,
    ) -> list[ListedObject]:
        """At most ``limit`` (≤ 1,000) objects behind ``start_after``, in the order of keys."""
        query = {"list-type": "2", "max-keys": str(limit), "prefix": prefix}
        if start_after:
            query["start-after"] = start_after
        _, body = self._transport.call(
            "GET", bucket, query=query, cancellation=cancellation or Cancellation()
        )
        return list(s3_xml.listed(s3_xml.parse(body)))

    def read_into(
        self,
        bucket: str,
        key: str,
        view: memoryview,
        *,
        start: int = 0,
        if_match: str | None = None,
        cancellation: Cancellation | None = None,
        progress: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Fill ``view`` with the object's bytes from ``start`` on, over broken connections.

        ``progress`` is told the bytes of every read.
        """
        cancellation = cancellation or Cancellation()
        done = 0

        def attempt() -> None:
            nonlocal done
            with self.get_object(
                bucket,
                key,
                start=start + done,
                end=start + len(view),
                if_match=if_match,
                cancellation=cancellation,
            ) as response:
                while done < len(view):
                    count = response.readinto(view[done:])
                    if count == 0:
                        raise NetworkError("The storage sent less than the object holds")
                    done += count
                    progress(count)

        if view:
            retrying(attempt, cancellation, progress=lambda: done)

    @contextmanager
    def get_object(
        self,
        bucket: str,
        key: str,
        *,
        start: int = 0,
        end: int | None = None,
        if_match: str | None = None,
        cancellation: Cancellation | None = None,
    ) -> Iterator[Response]:
        """The object's bytes of ``[start, end)`` as one answer, without retries."""
        headers = {} if if_match is None else {"if-match": if_match}
        if start or end is not None:
            headers["range"] = f"bytes={start}-" + ("" if end is None else str(end - 1))
        with self._transport.open(
            "GET", bucket, key, headers=headers, cancellation=cancellation or Cancellation()
        ) as response:
            if start and response.status != 206:
                raise StorageError("The storage does not serve ranges")
            yield response

    def put_object(
        self,
        bucket: str,
        key: str,
        body: Buffer,
        *,
        content_type: str = "application/octet-stream",
        metadata: Mapping[str, str] | None = None,
        crc32: int | None = None,
        cancellation: Cancellation | None = None,
    ) -> str:
        """Write a whole object; returns its ETag. The store checks ``crc32`` where it is given."""
        headers = {"content-type": content_type, **metadata_headers(metadata)}
        if crc32 is not None:
            headers["x-amz-checksum-crc32"] = s3_xml.encode_crc32(crc32)
        answer, _ = self._transport.call(
            "PUT",
            bucket,
            key,
            headers=headers,
            body=body,
            cancellation=cancellation or Cancellation(),
            timeout=LONG_CALL,
        )
        return answer.get("etag", "")

    def delete_objects(
        self, bucket: str, keys: Sequence[str], *, cancellation: Cancellation | None = None
    ) -> None:
        """Remove at most 1,000 objects by one call; those that are gone already are no error."""
        body = s3_xml.delete_request(keys)
        headers = {"content-type": "application/xml", "content-md5": s3_xml.md5(body)}
        self._transport.call(
            "POST",
            bucket,
            query={"delete": ""},
            headers=headers,
            body=body,
            cancellation=cancellation or Cancellation(),
        )

    def delete_object(
        self, bucket: str, key: str, *, cancellation: Cancellation | None = None
    ) -> None:
        """Remove an object; one that is gone already is no error."""
        self._transport.call("DELETE", bucket, key, cancellation=cancellation or Cancellation())
