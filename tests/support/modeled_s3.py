"""A small S3 server in memory that follows the documented rules of servers that cannot run here.

The rules come from the servers' documentation and bug reports, not from a run. Signatures are not
checked.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
import sys
import threading
from contextlib import nullcontext
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Literal
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from worker.archive.zip_format.crc32 import crc32, join

MIN_PART_SIZE = 5 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What a server supports; the defaults are those of AWS."""

    #: True: accepts and verifies FULL_OBJECT; else the error code with which it rejects that.
    full_object: Literal[True] | str = True
    #: Verifies the CRC32s of parts in CompleteMultipartUpload; False: rejects them.
    composite: bool = True
    #: Returns the CRC32 of copied parts.
    copy_crc32: bool = True
    #: Copies ranges as parts, and checks If-Match when it does.
    copies: bool = True
    copy_if_match: bool = True
    #: All parts except the last must have one size.
    equal_parts: bool = False
    #: Accepts x-amz-checksum-crc32 on objects and parts, and x-amz-checksum-mode on HEAD.
    put_crc32: bool = True
    checksum_mode: bool = True
    #: Decodes aws-chunked parts, and verifies the CRC32 behind them; False: rejects them.
    trailers: bool = True
    multi_delete: bool = True
    list_uploads: bool = True
    #: ``ok``, ``md5`` (Content-MD5 required) or ``none``.
    lifecycle: str = "ok"
    #: ETags are MD5s, as on AWS. Otherwise they are CRC32s, which cost less.
    md5_etags: bool = True
    #: Answers HEAD and GET of keys that were never written with this status.
    missing_status: int = 404


#: MinIO up to about 2024 compares COMPOSITE checksums only, and has none for copied parts.
MINIO_OLD = Rules(full_object="InvalidArgument", copy_crc32=False, lifecycle="md5")
#: MinIO since 2025 has FULL_OBJECT; botocore#3415 reports the Content-MD5 for lifecycle rules.
MINIO = Rules(copy_crc32=False, lifecycle="md5")
#: Cloudflare R2: "All non-trailing parts must have the same length"; no FULL_OBJECT CRC32.
R2 = Rules(full_object="NotImplemented", equal_parts=True, trailers=False)
#: Google Cloud Storage's XML API: other lifecycle XML, no DeleteObjects, no checksums of S3.
GCS = Rules(
    full_object="InvalidArgument", composite=False, copies=False, multi_delete=False,
    lifecycle="none", trailers=False,
)  # fmt: skip
#: Backblaze B2 in 2025 rejected the headers of the new checksums.
B2 = Rules(
    full_object="InvalidRequest", composite=False, put_crc32=False, checksum_mode=False,
    copy_crc32=False, lifecycle="none", trailers=False,
)  # fmt: skip
#: Garage: InvalidDigest for FULL_OBJECT of multipart uploads.
GARAGE = Rules(full_object="InvalidDigest", copy_crc32=False, trailers=False)

MODELS = {
    "minio-2024": MINIO_OLD, "minio-2025": MINIO, "r2": R2, "gcs": GCS, "b2": B2,
    "garage": GARAGE, "aws": Rules(), "fast": Rules(md5_etags=False),
}  # fmt: skip


@dataclass
class Stored:
    parts: list[bytes]
    etag: str
    headers: dict[str, str] = field(default_factory=dict)
    checksum: str | None = None
    checksum_type: str = "FULL_OBJECT"
    modified: str = field(default_factory=lambda: formatdate(usegmt=True))

    @cached_property
    def data(self) -> bytes:
        return b"".join(self.parts)

    @property
    def size(self) -> int:
        return sum(map(len, self.parts))


@dataclass
class Upload:
    bucket: str
    key: str
    headers: dict[str, str]
    checksum: bool
    full_object: bool
    parts: dict[int, tuple[bytes, str, int | None]] = field(default_factory=dict)


class S3Error(Exception):
    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status, self.code = status, code


class ModeledS3:
    """The server; ``close`` stops it."""

    def __init__(self, rules: Rules, *, port: int = 0) -> None:
        self.rules = rules
        self.buckets: dict[str, dict[str, Stored]] = {}
        self.lifecycle: dict[str, bytes] = {}
        self.uploads: dict[str, Upload] = {}
        self.ids = itertools.count(1)
        self.lock = threading.RLock()
        handler = type("Handler", (_Handler,), {"s3": self})
        self._server = _Server(("127.0.0.1", port), handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    request_queue_size = 256


def _encoded(value: int) -> str:
    return base64.b64encode(value.to_bytes(4, "big")).decode()


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    s3: ClassVar[ModeledS3]

    def log_message(self, *_: Any) -> None:
        return

    def _handle(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        self.body = self.rfile.read(length)
        if len(self.body) < length:  # The client gave the request up.
            self.close_connection = True
            return
        parts = urlsplit(self.path)
        self.query = {n: v[0] for n, v in parse_qs(parts.query, keep_blank_values=True).items()}
        self.bucket, _, self.key = unquote(parts.path)[1:].partition("/")
        try:
            # Responses to GET may take long, and change nothing.
            with nullcontext() if self.command == "GET" else self.s3.lock:
                self._dispatch()
        except S3Error as error:
            body = f"<Error><Code>{error.code}</Code></Error>".encode()
            self._reply(error.status, body if self.command != "HEAD" else b"")

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _handle  # noqa: N815

    def _reply(self, status: int = 200, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _xml(self, name: str, content: str) -> None:
        self._reply(200, f"<?xml version='1.0'?>\n<{name}>{content}</{name}>".encode())

    def _dispatch(self) -> None:
        if not self.key:
            self._bucket_request()
            return
        if self.bucket not in self.s3.buckets:
            raise S3Error(404, "NoSuchBucket")
        name = "part" if "partNumber" in self.query else ""
        name = name or ("upload" if "uploadId" in self.query or "uploads" in self.query else "")
        getattr(self, f"_{self.command.lower()}_{name or 'object'}")()

    def _bucket_request(self) -> None:
        s3 = self.s3
        if "lifecycle" in self.query:
            self._lifecycle()
        elif self.command == "PUT":
            s3.buckets.setdefault(self.bucket, {})
            self._reply()
        elif self.bucket not in s3.buckets:
            raise S3Error(404, "NoSuchBucket")
        elif self.command == "HEAD":
            self._reply()
        elif "delete" in self.query:
            self._delete_objects()
        elif "uploads" in self.query:
            self._list_uploads()
        else:
            self._list_objects()

    def _lifecycle(self) -> None:
        kind = self.s3.rules.lifecycle
        if kind == "none":
            raise S3Error(501, "NotImplemented")
        if self.command == "GET":
            if self.bucket not in self.s3.lifecycle:
                raise S3Error(404, "NoSuchLifecycleConfiguration")
            self._reply(200, self.s3.lifecycle[self.bucket])
            return
        if kind == "md5" and "content-md5" not in self.headers:
            raise S3Error(400, "MissingContentMD5")
        self.s3.lifecycle[self.bucket] = self.body
        self._reply()

    def _delete_objects(self) -> None:
        if not self.s3.rules.multi_delete:
            raise S3Error(501, "NotImplemented")
        if "content-md5" not in self.headers:
            raise S3Error(400, "MissingContentMD5")
        for element in ElementTree.fromstring(self.body).iter("Key"):  # noqa: S314
            self.s3.buckets[self.bucket].pop(element.text or "", None)
        self._xml("DeleteResult", "")

    def _list_uploads(self) -> None:
        if not self.s3.rules.list_uploads:
            raise S3Error(501, "NotImplemented")
        prefix = self.query.get("prefix", "")
        rows = "".join(
            f"<Upload><Key>{quote(u.key)}</Key><UploadId>{i}</UploadId></Upload>"
            for i, u in self.s3.uploads.items()
            if u.bucket == self.bucket and u.key.startswith(prefix)
        )
        self._xml("R", f"<EncodingType>url</EncodingType><IsTruncated>false</IsTruncated>{rows}")

    def _list_objects(self) -> None:
        prefix, after = self.query.get("prefix", ""), self.query.get("start-after", "")
        objects = self.s3.buckets[self.bucket]
        keys = [key for key in sorted(objects) if key.startswith(prefix) and key > after]
        limit = int(self.query.get("max-keys", "1000"))
        found = [(key, objects[key]) for key in keys[:limit]]
        truncated = f"<IsTruncated>{str(len(keys) > limit).lower()}</IsTruncated>"
        rows = "".join(
            f"<Contents><Key>{quote(key)}</Key><Size>{stored.size}</Size>"
            f"<ETag>{escape(stored.etag)}</ETag></Contents>"
            for key, stored in found
        )
        self._xml("R", f"<EncodingType>url</EncodingType>{truncated}{rows}")

    def _check_body(self) -> int | None:
        """Verify Content-MD5 and the CRC32 header; return the CRC32 if there is one."""
        md5 = self.headers.get("content-md5")
        if md5 is not None and md5 != base64.b64encode(hashlib.md5(self.body).digest()).decode():  # noqa: S324
            raise S3Error(400, "BadDigest")
        header = self.headers.get("x-amz-checksum-crc32") or self._decode_chunks()
        if header is None:
            return None
        if not self.s3.rules.put_crc32:
            raise S3Error(400, "InvalidRequest")
        if header != _encoded(crc32(self.body)):
            raise S3Error(400, "BadDigest")
        return crc32(self.body)

    def _decode_chunks(self) -> str | None:
        """Decode an aws-chunked body with an unsigned payload; return its checksum."""
        if self.headers.get("content-encoding") != "aws-chunked":
            return None
        if not self.s3.rules.trailers:
            raise S3Error(501, "NotImplemented")
        blocks, at = [], 0
        while True:
            end = self.body.index(b"\r\n", at)
            size, at = int(self.body[at:end], 16), end + 2
            if not size:
                break
            blocks.append(self.body[at : at + size])
            at += size + 2
        name, _, value = self.body[at:].decode().strip().partition(":")
        assert name == self.headers["x-amz-trailer"]
        self.body = b"".join(blocks)
        assert len(self.body) == int(self.headers["x-amz-decoded-content-length"])
        return value

    def _etag(self, data: bytes) -> str:
        if not self.s3.rules.md5_etags:
            return f'"{crc32(data):032x}"'
        return f'"{hashlib.md5(data).hexdigest()}"'  # noqa: S324

    def _kept_headers(self) -> dict[str, str]:
        return {
            name.lower(): value
            for name, value in self.headers.items()
            if name.lower().startswith("x-amz-meta-") or name.lower() == "content-type"
        }

    def _put_object(self) -> None:
        checksum = self._check_body()
        stored = Stored([self.body], self._etag(self.body), self._kept_headers())
        stored.checksum = None if checksum is None else _encoded(checksum)
        self.s3.buckets[self.bucket][self.key] = stored
        self._reply(200, ETag=stored.etag)

    def _find(self, bucket: str, key: str) -> Stored:
        stored = self.s3.buckets.get(bucket, {}).get(key)
        if stored is None:
            raise S3Error(self.s3.rules.missing_status, "NoSuchKey")
        return stored

    def _head_object(self) -> None:
        if "x-amz-checksum-mode" in self.headers and not self.s3.rules.checksum_mode:
            raise S3Error(400, "InvalidRequest")
        stored = self._find(self.bucket, self.key)
        self._reply(200, Content_Length=str(stored.size), **self._object_headers(stored))

    def _object_headers(self, stored: Stored) -> dict[str, Any]:
        headers = {**stored.headers, "ETag": stored.etag, "Last-Modified": stored.modified}
        # A checksum is that of the whole object, and not sent with a range.
        if (
            stored.checksum
            and "x-amz-checksum-mode" in self.headers
            and "range" not in self.headers
        ):
            headers["x-amz-checksum-crc32"] = stored.checksum
            headers["x-amz-checksum-type"] = stored.checksum_type
        return headers

    def _get_object(self) -> None:
        stored = self._find(self.bucket, self.key)
        if self.headers.get("if-match") not in (None, stored.etag):
            raise S3Error(412, "PreconditionFailed")
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("range", ""))
        if match is None:
            self._reply(200, stored.data, **self._object_headers(stored))
            return
        start, size = int(match[1]), len(stored.data)
        if start >= size:
            raise S3Error(416, "InvalidRange")
        end = min(int(match[2] or size), size - 1)
        self._reply(
            206, stored.data[start : end + 1],
            **{"Content-Range": f"bytes {start}-{end}/{size}", **self._object_headers(stored)},
        )  # fmt: skip

    def _delete_object(self) -> None:
        self.s3.buckets[self.bucket].pop(self.key, None)
        self._reply(204)

    def _post_upload(self) -> None:
        if "uploads" in self.query:
            self._create_upload()
        else:
            self._complete_upload()

    def _create_upload(self) -> None:
        checksum = "x-amz-checksum-algorithm" in self.headers
        full_object = self.headers.get("x-amz-checksum-type") == "FULL_OBJECT"
        if checksum and not self.s3.rules.put_crc32:
            raise S3Error(400, "InvalidRequest")
        upload_id = f"u{next(self.s3.ids)}"
        self.s3.uploads[upload_id] = Upload(
            self.bucket, self.key, self._kept_headers(), checksum, full_object
        )
        self._xml("R", f"<UploadId>{upload_id}</UploadId>")

    def _upload(self) -> Upload:
        upload = self.s3.uploads.get(self.query["uploadId"])
        if upload is None or (upload.bucket, upload.key) != (self.bucket, self.key):
            raise S3Error(404, "NoSuchUpload")
        return upload

    def _put_part(self) -> None:
        upload, number = self._upload(), int(self.query["partNumber"])
        source = self.headers.get("x-amz-copy-source")
        if source is None:
            crc = self._check_body()
            upload.parts[number] = (self.body, self._etag(self.body), crc)
            self._reply(200, ETag=upload.parts[number][1])
            return
        if not self.s3.rules.copies:
            raise S3Error(501, "NotImplemented")
        bucket, _, key = unquote(source).partition("/")
        stored = self._find(bucket, key)
        if_match = self.headers.get("x-amz-copy-source-if-match")
        if self.s3.rules.copy_if_match and if_match not in (None, stored.etag):
            raise S3Error(412, "PreconditionFailed")
        start, end = map(int, self.headers["x-amz-copy-source-range"][6:].split("-"))
        if end >= len(stored.data) or len(stored.data) <= MIN_PART_SIZE:
            raise S3Error(400, "InvalidArgument")
        data = stored.data[start : end + 1]
        has_crc = upload.checksum and self.s3.rules.copy_crc32
        part = data, self._etag(data), crc32(data) if has_crc else None
        upload.parts[number] = part
        checksum = f"<ChecksumCRC32>{_encoded(part[2])}</ChecksumCRC32>" if part[2] else ""
        self._xml("CopyPartResult", f"<ETag>{escape(part[1])}</ETag>{checksum}")

    def _complete_upload(self) -> None:
        upload, rules = self._upload(), self.s3.rules
        whole = self.headers.get("x-amz-checksum-crc32")
        if (upload.full_object or whole) and rules.full_object is not True:
            raise S3Error(400, str(rules.full_object))
        contents, etags = [], []
        for element in ElementTree.fromstring(self.body).iter("Part"):  # noqa: S314
            part = upload.parts.get(int(element.findtext("PartNumber") or 0))
            if part is None or part[1] != element.findtext("ETag"):
                raise S3Error(400, "InvalidPart")
            self._check_part(upload, part, element.findtext("ChecksumCRC32"))
            contents.append(part[0])
            etags.append(part[1])
        if any(len(content) < MIN_PART_SIZE for content in contents[:-1]):
            raise S3Error(400, "EntityTooSmall")
        if rules.equal_parts and len({len(content) for content in contents[:-1]}) > 1:
            raise S3Error(400, "InvalidPart")
        crc = join((crc32(content), len(content)) for content in contents)
        if whole is not None and whole != _encoded(crc):
            raise S3Error(400, "BadDigest")
        digests = bytes.fromhex("".join(etags).replace('"', ""))
        etag = f'"{hashlib.md5(digests).hexdigest()}-{len(contents)}"'  # noqa: S324
        stored = Stored(contents, etag, upload.headers)
        stored.checksum = _encoded(crc) if upload.full_object else None
        self.s3.buckets[self.bucket][self.key] = stored
        del self.s3.uploads[self.query["uploadId"]]
        self._xml("CompleteMultipartUploadResult", f"<ETag>{escape(etag)}</ETag>")

    def _check_part(
        self, upload: Upload, part: tuple[bytes, str, int | None], given: str | None
    ) -> None:
        if given is None:
            if upload.checksum and not upload.full_object:
                raise S3Error(400, "InvalidRequest")
            return
        if not self.s3.rules.composite and not upload.full_object:
            raise S3Error(400, "MalformedXML")
        if given != (None if part[2] is None else _encoded(part[2])) and not (
            part[2] is None and upload.full_object
        ):
            raise S3Error(400, "InvalidPart")

    def _delete_upload(self) -> None:
        self._upload()
        del self.s3.uploads[self.query["uploadId"]]
        self._reply(204)


if __name__ == "__main__":
    ModeledS3(MODELS[sys.argv[1]], port=int(sys.argv[2]))
    threading.Event().wait()
