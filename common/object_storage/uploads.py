"""S3 operations on multipart uploads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import quote

from common.errors import StorageError
from common.object_storage import s3_xml
from common.object_storage.aws_chunked import ChunkedBody, PartStream
from common.object_storage.cancellation import Cancellation
from common.object_storage.errors import BadChecksum, BucketForbidden, NoSuchKey
from common.object_storage.http_pool import Buffer
from common.object_storage.s3_xml import MultipartUpload, UploadedPart
from common.object_storage.transport import LONG_TIMEOUT, Calls, metadata_headers

#: The limit for the pages of one listing, 1,000 uploads each.
MAX_PAGES = 100


class UploadCalls(Calls):
    """Operations on uploads; errors and ``cancellation`` are those of ``ObjectCalls``."""

    def create_multipart_upload(
        self,
        bucket: str,
        key: str,
        *,
        content_type: str = "application/octet-stream",
        metadata: Mapping[str, str] | None = None,
        cancellation: Cancellation | None = None,
    ) -> str:
        """Create an upload and return its id. Its parts have CRC32s if the storage has them."""
        headers = {
            "content-type": content_type,
            **metadata_headers(metadata),
            **self._options.new_archive,
        }
        if self.profile.upload_crc32:
            headers["x-amz-checksum-algorithm"] = "CRC32"
        if self.profile.full_object_crc32:
            headers["x-amz-checksum-type"] = "FULL_OBJECT"
        _, body = self._transport.call(
            "POST",
            bucket,
            key,
            query={"uploads": ""},
            headers=headers,
            cancellation=cancellation,
        )
        upload_id = s3_xml.parse(body).findtext("UploadId")
        if not upload_id:
            raise StorageError("The storage did not create an upload")
        return upload_id

    def upload_part(
        self,
        bucket: str,
        key: str,
        upload_id: str,
        number: int,
        body: Buffer,
        *,
        crc32: int,
        cancellation: Cancellation | None = None,
    ) -> UploadedPart:
        """Upload one part. The storage rejects it (BadChecksum) unless its CRC32 is ``crc32``.

        Where the storage does not verify that, Content-MD5 is sent.
        """
        checksums = self._options.every_write
        if self.profile.upload_crc32:
            checksums["x-amz-checksum-crc32"] = s3_xml.encode_crc32(crc32)
        if self.profile.content_md5:
            checksums["content-md5"] = s3_xml.md5(body)
        headers, _ = self._transport.call(
            "PUT", bucket, key,
            query={"partNumber": str(number), "uploadId": upload_id},
            headers=checksums, body=body, cancellation=cancellation, timeout=LONG_TIMEOUT,
        )  # fmt: skip
        return UploadedPart(number=number, etag=_required_etag(headers.get("etag")), crc32=crc32)

    def upload_part_stream(
        self,
        bucket: str,
        key: str,
        upload_id: str,
        number: int,
        stream: PartStream,
        *,
        cancellation: Cancellation | None = None,
    ) -> UploadedPart:
        """Upload one part while it is produced; raise BadChecksum if other bytes are stored.

        The storage returns the CRC32 of the part, or gets it behind the bytes and compares it. Only
        for a storage with ``can_stream_parts``.
        """
        body = None if self.profile.returns_part_crc32 else ChunkedBody(stream)
        headers, _ = self._transport.call(
            "PUT", bucket, key,
            query={"partNumber": str(number), "uploadId": upload_id},
            headers={**self._options.every_write, **(body.headers if body else {})},
            body=body or stream, cancellation=cancellation, timeout=LONG_TIMEOUT,
        )  # fmt: skip
        stored = s3_xml.decode_crc32(headers.get("x-amz-checksum-crc32"))
        if stored != stream.crc32 and (stored is not None or body is None):
            raise BadChecksum("The stored part differs from what was uploaded")
        etag = _required_etag(headers.get("etag"))
        return UploadedPart(number=number, etag=etag, crc32=stream.crc32)

    def upload_part_copy(
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
        cancellation: Cancellation | None = None,
    ) -> UploadedPart:
        """Copy ``length`` bytes of ``source`` (bucket, key) inside the storage as one part.

        The part's ``crc32`` is what the storage computed while copying, or None.
        """
        headers = {
            **self._options.every_write,
            "x-amz-copy-source": _copy_source(*source),
            "x-amz-copy-source-range": f"bytes={start}-{start + length - 1}",
        }
        if if_match is not None:
            headers["x-amz-copy-source-if-match"] = if_match
        try:
            _, body = self._transport.call(
                "PUT", bucket, key,
                query={"partNumber": str(number), "uploadId": upload_id},
                headers=headers, cancellation=cancellation, timeout=LONG_TIMEOUT,
            )  # fmt: skip
        except BucketForbidden:
            # The response does not say which of the two was denied.
            self._raise_if_unreadable(*source, None, cancellation)
            raise
        root = s3_xml.parse(body)
        crc32 = s3_xml.decode_crc32(root.findtext("ChecksumCRC32"))
        etag = _required_etag(root.findtext("ETag"))
        return UploadedPart(number=number, etag=etag, crc32=crc32)

    def complete_multipart_upload(
        self,
        bucket: str,
        key: str,
        upload_id: str,
        parts: Sequence[UploadedPart],
        *,
        crc32: int | None = None,
        size: int | None = None,
        cancellation: Cancellation | None = None,
    ) -> str:
        """Assemble the object and return its ETag.

        ``crc32`` and ``size`` are those of the whole object. Raise NoSuchUpload if the upload is
        gone: it may have been completed before.
        """
        headers = {"content-type": "application/xml", **self._options.every_write}
        if self.profile.full_object_crc32 and crc32 is not None:
            headers["x-amz-checksum-crc32"] = s3_xml.encode_crc32(crc32)
            headers["x-amz-checksum-type"] = "FULL_OBJECT"
        if self.profile.full_object_crc32 and size is not None:
            headers["x-amz-mp-object-size"] = str(size)
        _, body = self._transport.call(
            "POST", bucket, key,
            query={"uploadId": upload_id}, headers=headers,
            body=s3_xml.complete_request(parts, checksums=self.profile.upload_crc32),
            cancellation=cancellation, timeout=LONG_TIMEOUT,
        )  # fmt: skip
        root = s3_xml.parse(body)
        is_composite = root.findtext("ChecksumType") == "COMPOSITE"
        stored = None if is_composite else s3_xml.decode_crc32(root.findtext("ChecksumCRC32"))
        if crc32 is not None and stored is not None and stored != crc32:
            raise BadChecksum("The stored object differs from what was uploaded")
        # Ceph sends an empty ETag, rclone another one than that of the object.
        etag = s3_xml.quoted_etag(root.findtext("ETag"))
        if etag and self.profile.complete_etag:
            return etag
        return self._confirmed_etag(bucket, key, size, cancellation)

    def _confirmed_etag(
        self, bucket: str, key: str, size: int | None, cancellation: Cancellation | None
    ) -> str:
        """Return the ETag of a completed object; raise StorageError if it does not exist."""
        headers, _ = self._transport.call("HEAD", bucket, key, cancellation=cancellation)
        info = s3_xml.object_info(key, headers)
        if not info.etag or size not in (None, info.size):
            raise StorageError("The storage did not complete an upload")
        return info.etag

    def abort_multipart_upload(
        self, bucket: str, key: str, upload_id: str, *, cancellation: Cancellation | None = None
    ) -> None:
        """Delete an upload and its parts. A missing upload is ignored."""
        try:
            self._transport.call(
                "DELETE",
                bucket,
                key,
                query={"uploadId": upload_id},
                headers=self._options.every_write,
                cancellation=cancellation,
            )
        except NoSuchKey:
            return

    def list_multipart_uploads(
        self, bucket: str, prefix: str, *, cancellation: Cancellation | None = None
    ) -> list[MultipartUpload]:
        """Return the unfinished uploads whose keys start with ``prefix``, at most 100,000."""
        if not self.profile.list_uploads:
            return []
        uploads: dict[tuple[str, str], MultipartUpload] = {}
        markers: tuple[str, str] | None = None
        for _ in range(MAX_PAGES):
            query = {"uploads": "", "prefix": prefix, "encoding-type": "url"}
            if markers is not None:
                query.update(zip(("key-marker", "upload-id-marker"), markers, strict=True))
            _, body = self._transport.call("GET", bucket, query=query, cancellation=cancellation)
            root = s3_xml.parse(body)
            count = len(uploads)
            uploads.update(((u.key, u.upload_id), u) for u in s3_xml.multipart_uploads(root))
            markers = s3_xml.next_upload_markers(root)
            # A page without anything new would be followed by the same page again.
            if markers is None or len(uploads) == count:
                break
        # A server that ignores the prefix lists uploads of others.
        return [upload for upload in uploads.values() if upload.key.startswith(prefix)]


def _copy_source(bucket: str, key: str) -> str:
    """Return a copy source; for access points in the form of UploadPartCopy's reference."""
    path = f"{bucket}/object/{key}" if bucket.startswith("arn:") else f"{bucket}/{key}"
    return quote(path, "/-_.~:" if bucket.startswith("arn:") else "/-_.~")


def _required_etag(etag: str | None) -> str:
    """Return a part's ETag; some servers ignore a copy, and respond without one."""
    if not (quoted := s3_xml.quoted_etag(etag)):
        raise StorageError("The storage sent no ETag for a part")
    return quoted
