"""The S3 calls that carry a job's data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from urllib.parse import quote

from common.errors import NetworkError, StorageError
from common.storage import documents
from common.storage.documents import Listed, ObjectInfo, Part, Upload
from common.storage.errors import BadChecksum, ObjectMissing
from common.storage.transport import Transport, retrying
from common.storage.wire import Buffer, Response, Stop

#: Seconds a server-side copy or completion may take without a sign of life.
LONG_CALL = 120.0

CREATE_HEADERS = {"x-amz-checksum-algorithm": "CRC32", "x-amz-checksum-type": "FULL_OBJECT"}


class ObjectCalls:
    """Calls on objects. Thread safe; every call may be ended by ``stop`` from another thread.

    Calls raise ObjectMissing for 404, FileChanged for a failed If-Match, SourceForbidden for 403,
    NetworkError and StorageError for the rest, after the retries that could have helped.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def close(self) -> None:
        """Close the connections that wait for the next call."""
        self._transport.close()

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
        headers = {"content-type": content_type, **_metadata(metadata)}
        if crc32 is not None:
            headers["x-amz-checksum-crc32"] = documents.encode_crc32(crc32)
        answer, _ = self._transport.call(
            "PUT", bucket, key, headers=headers, body=body, stop=stop or Stop(), timeout=LONG_CALL
        )
        return answer.get("etag", "")

    def create_upload(
        self,
        bucket: str,
        key: str,
        *,
        content_type: str = "application/octet-stream",
        metadata: Mapping[str, str] | None = None,
        stop: Stop | None = None,
    ) -> str:
        """Begin a multipart upload whose parts all get a CRC32; returns its id."""
        headers = {"content-type": content_type, **_metadata(metadata), **CREATE_HEADERS}
        _, body = self._transport.call(
            "POST", bucket, key, query={"uploads": ""}, headers=headers, stop=stop or Stop()
        )
        upload_id = documents.parse(body).findtext("UploadId")
        if not upload_id:
            raise StorageError("The storage began no upload")
        return upload_id

    def put_part(
        self,
        bucket: str,
        key: str,
        upload_id: str,
        number: int,
        body: Buffer,
        *,
        crc32: int,
        stop: Stop | None = None,
    ) -> Part:
        """Upload one part; the store refuses it (BadChecksum) unless its CRC32 is ``crc32``."""
        headers, _ = self._transport.call(
            "PUT", bucket, key,
            query={"partNumber": str(number), "uploadId": upload_id},
            headers={"x-amz-checksum-crc32": documents.encode_crc32(crc32)},
            body=body, stop=stop or Stop(), timeout=LONG_CALL,
        )  # fmt: skip
        return Part(number=number, etag=headers.get("etag", ""), crc32=crc32)

    def copy_part(
        self,
        bucket: str,
        key: str,
        upload_id: str,
        number: int,
        *,
        source: tuple[str, str],
        start: int,
        length: int,
        if_match: str | None,
        stop: Stop | None = None,
    ) -> Part:
        """Let the store copy ``length`` bytes of ``source`` (bucket, key) as one part.

        The part's ``crc32`` is what the store computed while copying; None where it does not.
        """
        headers = {
            "x-amz-copy-source": quote("/".join(source), "/-_.~"),
            "x-amz-copy-source-range": f"bytes={start}-{start + length - 1}",
        }
        if if_match is not None:
            headers["x-amz-copy-source-if-match"] = if_match
        _, body = self._transport.call(
            "PUT", bucket, key,
            query={"partNumber": str(number), "uploadId": upload_id},
            headers=headers, stop=stop or Stop(), timeout=LONG_CALL,
        )  # fmt: skip
        root = documents.parse(body)
        crc32 = documents.decode_crc32(root.findtext("ChecksumCRC32"))
        return Part(number=number, etag=root.findtext("ETag") or "", crc32=crc32)

    def complete(
        self,
        bucket: str,
        key: str,
        upload_id: str,
        parts: Sequence[Part],
        *,
        crc32: int | None = None,
        size: int | None = None,
        stop: Stop | None = None,
    ) -> str:
        """Make the object of its parts; returns its ETag. ``crc32`` is that of the whole object.

        Raises UploadMissing if the upload is gone: it may have been completed before.
        """
        headers = {"content-type": "application/xml"}
        if crc32 is not None:
            headers["x-amz-checksum-crc32"] = documents.encode_crc32(crc32)
            headers["x-amz-checksum-type"] = "FULL_OBJECT"
        if size is not None:
            headers["x-amz-mp-object-size"] = str(size)
        _, body = self._transport.call(
            "POST", bucket, key,
            query={"uploadId": upload_id}, headers=headers,
            body=documents.complete_request(parts), stop=stop or Stop(), timeout=LONG_CALL,
        )  # fmt: skip
        root = documents.parse(body)
        stored = documents.decode_crc32(root.findtext("ChecksumCRC32"))
        if crc32 is not None and stored is not None and stored != crc32:
            raise BadChecksum("The stored object is not what was uploaded")
        return root.findtext("ETag") or ""

    def abort(self, bucket: str, key: str, upload_id: str, *, stop: Stop | None = None) -> None:
        """Throw an upload and its parts away; one that is gone already is no error."""
        try:
            self._transport.call(
                "DELETE", bucket, key, query={"uploadId": upload_id}, stop=stop or Stop()
            )
        except ObjectMissing:
            return

    def uploads(self, bucket: str, prefix: str, *, stop: Stop | None = None) -> list[Upload]:
        """The unfinished uploads whose keys begin with ``prefix``, at most 1,000."""
        _, body = self._transport.call(
            "GET", bucket, query={"uploads": "", "prefix": prefix}, stop=stop or Stop()
        )
        return list(documents.uploads(documents.parse(body)))

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


def _metadata(metadata: Mapping[str, str] | None) -> dict[str, str]:
    return {f"x-amz-meta-{name}": value for name, value in (metadata or {}).items()}
