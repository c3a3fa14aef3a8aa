"""S3 operations on objects."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace

from common.errors import FileChanged, NetworkError, SourceForbidden, StorageError
from common.object_storage import s3_xml
from common.object_storage.aws_chunked import BLOCK_SIZE
from common.object_storage.cancellation import Cancellation
from common.object_storage.errors import NoSuchKey, StorageBusy
from common.object_storage.http_pool import Buffer
from common.object_storage.http_response import Response
from common.object_storage.retries import RETRYABLE_ERRORS, retry
from common.object_storage.s3_xml import ObjectInfo, ObjectPage
from common.object_storage.transport import LONG_TIMEOUT, Calls, WrongRegion, metadata_headers


class ObjectCalls(Calls):
    """Operations on objects. Thread safe; ``cancellation`` ends a call from another thread.

    Calls raise NoSuchKey for 404, FileChanged for a failed If-Match, SourceForbidden for a denied
    read, BucketForbidden for a denied write, NetworkError and StorageError for the rest, after the
    retries that could have helped.
    """

    def head_object(
        self,
        bucket: str,
        key: str,
        *,
        timeout: float | None = None,
        cancellation: Cancellation | None = None,
    ) -> ObjectInfo:
        """Return an object's size, ETag, metadata and checksum."""
        try:
            return self._head_object(bucket, key, timeout, cancellation)
        except (FileChanged, NoSuchKey, StorageBusy):
            raise
        except (SourceForbidden, StorageError):
            # The response to HEAD has no body, and so no error code.
            self._raise_if_unreadable(bucket, key, timeout, cancellation)
            if not self.profile.head_checksum:
                raise
        # The object is readable: some servers reject the header for checksums.
        without_checksum = self.with_profile(replace(self.profile, head_checksum=False))
        info = without_checksum._head_object(bucket, key, timeout, cancellation)
        self.profile = without_checksum.profile
        return info

    def _head_object(
        self, bucket: str, key: str, timeout: float | None, cancellation: Cancellation | None
    ) -> ObjectInfo:
        headers, _ = self._transport.call(
            "HEAD", bucket, key,
            headers={"x-amz-checksum-mode": "ENABLED"} if self.profile.head_checksum else {},
            cancellation=cancellation, timeout=timeout,
        )  # fmt: skip
        return s3_xml.object_info(key, headers)

    def list_objects_v2(
        self,
        bucket: str,
        *,
        prefix: str = "",
        start_after: str = "",
        limit: int = 1000,
        cancellation: Cancellation | None = None,
    ) -> ObjectPage:
        """Return at most ``limit`` (≤ 1,000) objects after ``start_after``, ordered by key.

        Objects up to ``start_after`` are left out, so that a loop over pages ends even with a
        server that repeats them.
        """
        query = {
            "list-type": "2",
            "max-keys": str(limit),
            "prefix": prefix,
            "encoding-type": "url",
        }
        if start_after:
            query["start-after"] = start_after
        _, body = self._transport.call("GET", bucket, query=query, cancellation=cancellation)
        after = start_after.encode()
        root = s3_xml.parse(body)
        found = [each for each in s3_xml.listed_objects(root) if each.key.encode() > after]
        # A page without anything new would be followed by the same page again.
        return ObjectPage(found, is_truncated=bool(found) and s3_xml.is_truncated(root))

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
        """Fill ``view`` with the object's bytes from ``start`` on.

        This is GetObject for one range, resumed after a broken connection where it stopped; that
        is why it is not called ``get_object``. ``progress`` gets the number of bytes of every read.
        """
        self._read(
            bucket, key, lambda done: view[done:], progress,
            start=start, length=len(view), if_match=if_match, cancellation=cancellation,
        )  # fmt: skip

    def read_blocks(
        self,
        bucket: str,
        key: str,
        consume: Callable[[memoryview], None],
        *,
        start: int,
        length: int,
        if_match: str | None = None,
        cancellation: Cancellation | None = None,
    ) -> None:
        """Call ``consume`` with ``length`` bytes from ``start`` on, a block of memory at a time.

        Like ``read_into``, where the bytes are not kept: the blocks share their memory.
        """
        block = memoryview(bytearray(min(BLOCK_SIZE, length)))
        self._read(
            bucket, key, lambda done: block[: length - done], lambda count: consume(block[:count]),
            start=start, length=length, if_match=if_match, cancellation=cancellation,
        )  # fmt: skip

    def _read(
        self,
        bucket: str,
        key: str,
        memory: Callable[[int], memoryview],
        on_read: Callable[[int], None],
        *,
        start: int,
        length: int,
        if_match: str | None,
        cancellation: Cancellation | None,
    ) -> None:
        """Read a range; ``memory`` returns where to, once so many bytes of it were read."""
        cancellation = cancellation or Cancellation()
        done = 0

        def attempt() -> None:
            nonlocal done
            with self.get_object(
                bucket,
                key,
                start=start + done,
                end=start + length,
                if_match=if_match,
                cancellation=cancellation,
            ) as response:
                while done < length:
                    count = response.readinto(memory(done))
                    if count == 0:
                        raise NetworkError("The storage sent fewer bytes than the object has")
                    done += count
                    on_read(count)

        if length:
            retry(attempt, cancellation, progress=lambda: done, on=(*RETRYABLE_ERRORS, WrongRegion))

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
        """Yield the response with the object's bytes of ``[start, end)``; it is not retried."""
        headers = {} if if_match is None else {"if-match": if_match}
        if start or end is not None:
            headers["range"] = f"bytes={start}-" + ("" if end is None else str(end - 1))
        with self._transport.send(
            "GET", bucket, key, headers=headers, cancellation=cancellation
        ) as response:
            content_range = response.headers.get("content-range")
            # rclone sends a range with the status 200.
            is_range = response.status == 206 or content_range is not None
            if is_range:
                _check_content_range(content_range or "", start)
            etag = s3_xml.quoted_etag(response.headers.get("etag"))
            if if_match is not None and etag and etag != if_match:
                # Not every server checks If-Match (RFC 9110, 13.1.1).
                raise FileChanged("A file was replaced while it was being read")
            if start and not is_range:
                # A server may ignore the Range header (RFC 9110, 14.2).
                _skip(response, start)
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
        content_md5: str | None = None,
        is_archive: bool = True,
        cancellation: Cancellation | None = None,
    ) -> str:
        """Write an object and return its ETag.

        The storage verifies ``crc32`` if it is given, or Content-MD5 if it ignores CRC32s.
        ``content_md5`` replaces the computed one. Others than archives get the default storage
        class: those for rare access charge for each read, and for a minimum size.
        """
        headers = {
            "content-type": content_type,
            **metadata_headers(metadata),
            **(self._options.new_archive if is_archive else self._options.new_object),
        }
        if crc32 is not None and self.profile.put_crc32:
            headers["x-amz-checksum-crc32"] = s3_xml.encode_crc32(crc32)
        if self.profile.content_md5:
            headers["content-md5"] = content_md5 or s3_xml.md5(body)
        response_headers, _ = self._transport.call(
            "PUT",
            bucket,
            key,
            headers=headers,
            body=body,
            cancellation=cancellation,
            timeout=LONG_TIMEOUT,
        )
        return s3_xml.quoted_etag(response_headers.get("etag"))

    def delete_objects(
        self,
        bucket: str,
        keys: Sequence[str],
        *,
        timeout: float | None = None,
        cancellation: Cancellation | None = None,
    ) -> None:
        """Delete at most 1,000 objects. Missing objects are ignored.

        A storage without DeleteObjects gets one request for each, with this ``timeout``.
        """
        if not self.profile.multi_delete:
            for key in keys:
                self.delete_object(bucket, key, timeout=timeout, cancellation=cancellation)
            return
        body = s3_xml.delete_request(keys)
        headers = {
            "content-type": "application/xml",
            "content-md5": s3_xml.md5(body),
            **self._options.every_write,
        }
        _, result = self._transport.call(
            "POST",
            bucket,
            query={"delete": ""},
            headers=headers,
            body=body,
            cancellation=cancellation,
            timeout=timeout,
        )
        if codes := s3_xml.delete_errors(result):
            raise StorageError(f"The storage did not delete {len(codes)} objects: {codes[0]}")

    def delete_object(
        self,
        bucket: str,
        key: str,
        *,
        timeout: float | None = None,
        cancellation: Cancellation | None = None,
    ) -> None:
        """Delete an object. A missing object is ignored."""
        with suppress(NoSuchKey):
            self._transport.call(
                "DELETE",
                bucket,
                key,
                headers=self._options.every_write,
                cancellation=cancellation,
                timeout=timeout,
            )


def _check_content_range(value: str, start: int) -> None:
    """Raise StorageError unless a 206 response begins at ``start`` (RFC 9110, 15.3.7)."""
    unit, _, content_range = value.partition(" ")
    if unit.lower() != "bytes" or content_range.partition("-")[0].strip() != str(start):
        raise StorageError("The storage sent another range than requested")


def _skip(response: Response, count: int) -> None:
    block = memoryview(bytearray(min(count, 262_144)))
    while count:
        read = response.readinto(block[:count])
        if read == 0:
            raise NetworkError("The storage sent fewer bytes than the object has")
        count -= read
