"""Reads and writes the XML documents of the S3 API."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import unquote_plus
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from common.errors import StorageError
from common.http_headers import parse_http_date

_EXPIRY_DATE = re.compile(r'expiry-date="([^"]*)"')
#: The root element behind blanks, a byte order mark, the XML declaration and comments.
_ERROR_ROOT = re.compile(
    rb"\s*(?:\xef\xbb\xbf)?(?:\s|<\?.*?\?>|<!--.*?-->)*<(?:[\w.-]+:)?Error[\s/>]", re.DOTALL
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectInfo:
    """An object as a HEAD response describes it."""

    key: str
    size: int
    etag: str
    modified: datetime | None
    content_type: str | None
    metadata: dict[str, str]
    content_disposition: str | None
    #: CRC32 of the whole object; None if none is stored, or if it is one of parts (COMPOSITE).
    crc32: int | None
    #: SHA-256 of the whole object in hexadecimal digits; None if none is stored.
    sha256: str | None = None
    content_encoding: str | None = None
    #: When a lifecycle rule deletes the object; None if there is none, or if it is not known.
    expires_at: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ListedObject:
    """An object as a listing describes it: without metadata."""

    key: str
    size: int
    etag: str
    modified: datetime | None


class ObjectPage(list[ListedObject]):
    """The objects of one ListObjectsV2 response, which may be fewer than were asked for."""

    def __init__(self, objects: Iterable[ListedObject], *, is_truncated: bool) -> None:
        super().__init__(objects)
        #: Other objects follow.
        self.is_truncated = is_truncated


@dataclass(frozen=True, kw_only=True, slots=True)
class UploadedPart:
    """An uploaded part; ``crc32`` is the one that the storage computed, or None."""

    number: int
    etag: str
    crc32: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class MultipartUpload:
    """A multipart upload that was neither completed nor aborted."""

    key: str
    upload_id: str
    initiated: datetime | None


def encode_crc32(value: int) -> str:
    return base64.b64encode(value.to_bytes(4, "big")).decode()


def decode_crc32(text: str | None) -> int | None:
    """Return the checksum in a header or element; None for a composite one (``…-7``)."""
    raw = _decode_checksum(text, 4)
    return None if raw is None else int.from_bytes(raw, "big")


def decode_sha256(text: str | None) -> str | None:
    """Return the hexadecimal digits of the checksum in a header; None for a composite one."""
    raw = _decode_checksum(text, 32)
    return None if raw is None else raw.hex()


def _decode_checksum(text: str | None, length: int) -> bytes | None:
    if not text or "-" in text:
        return None
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError:
        return None
    return raw if len(raw) == length else None


def parse(body: bytes) -> ElementTree.Element:
    """Return the root element, without namespaces. The sender is the operator's own storage."""
    try:
        # Blanks that keep the connection alive may precede the XML declaration.
        root = ElementTree.fromstring(body.strip())  # noqa: S314
    except ElementTree.ParseError as error:
        raise StorageError("The storage's response is not XML") from error
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    return root


def is_error(body: bytes) -> bool:
    """Return whether the root element of a document is ``<Error>``, without parsing all of it."""
    return _ERROR_ROOT.match(body) is not None


def quoted_etag(etag: str | None) -> str:
    """Return an ETag as RFC 9110, 8.8.3 writes it; some servers leave out the quotes."""
    etag = (etag or "").strip()
    return etag if not etag or etag.endswith('"') else f'"{etag}"'


def error_code(body: bytes) -> str:
    """Return the ``<Code>`` of an error document, or an empty string."""
    try:
        return parse(body).findtext("Code") or ""
    except StorageError:
        return ""


def _expiry(header: str) -> datetime | None:
    """Return the date in ``expiry-date="Fri, 21 Dec 2012 00:00:00 GMT", rule-id="1"``."""
    match = _EXPIRY_DATE.search(header) if header else None
    return parse_http_date(match[1]) if match else None


def error_region(body: bytes) -> str:
    """Return the ``<Region>`` of an error document, or an empty string."""
    try:
        return parse(body).findtext("Region") or ""
    except StorageError:
        return ""


def object_info(key: str, headers: dict[str, str]) -> ObjectInfo:
    """Return what the headers of a HEAD response say about an object.

    Raise StorageError if they do not say its size, as behind a proxy that compresses responses: it
    must not be taken for an empty object.
    """
    composite = headers.get("x-amz-checksum-type", "").upper() == "COMPOSITE"
    return ObjectInfo(
        key=key,
        size=_parse_size(headers.get("content-length")),
        etag=quoted_etag(headers.get("etag")),
        modified=parse_http_date(headers.get("last-modified")),
        content_type=headers.get("content-type"),
        metadata={n[11:]: v for n, v in headers.items() if n.startswith("x-amz-meta-")},
        content_disposition=headers.get("content-disposition"),
        crc32=None if composite else decode_crc32(headers.get("x-amz-checksum-crc32")),
        sha256=None if composite else decode_sha256(headers.get("x-amz-checksum-sha256")),
        content_encoding=headers.get("content-encoding"),
        expires_at=_expiry(headers.get("x-amz-expiration", "")),
    )


def listed_objects(root: ElementTree.Element) -> Iterator[ListedObject]:
    """Yield the objects of a ListObjectsV2 response."""
    decode = _key_decoder(root)
    for item in root.iterfind("Contents"):
        yield ListedObject(
            key=decode(item.findtext("Key") or ""),
            size=_parse_size(item.findtext("Size")),
            etag=quoted_etag(item.findtext("ETag")),
            modified=_parse_time(item.findtext("LastModified")),
        )


def is_truncated(root: ElementTree.Element) -> bool:
    """Return whether a listing has further pages."""
    return (root.findtext("IsTruncated") or "").lower() == "true"


def multipart_uploads(root: ElementTree.Element) -> Iterator[MultipartUpload]:
    """Yield the uploads of a ListMultipartUploads response."""
    decode = _key_decoder(root)
    for item in root.iterfind("Upload"):
        yield MultipartUpload(
            key=decode(item.findtext("Key") or ""),
            upload_id=item.findtext("UploadId") or "",
            initiated=_parse_time(item.findtext("Initiated")),
        )


def next_upload_markers(root: ElementTree.Element) -> tuple[str, str] | None:
    """Return the key marker and the upload id marker of the next page; None on the last page."""
    if not is_truncated(root):
        return None
    key = _key_decoder(root)(root.findtext("NextKeyMarker") or "")
    return key, root.findtext("NextUploadIdMarker") or ""


def _key_decoder(root: ElementTree.Element) -> Callable[[str], str]:
    """Return the function that decodes keys: XML 1.0 cannot contain all characters of keys."""
    return unquote_plus if root.findtext("EncodingType") == "url" else str


def complete_request(parts: Iterable[UploadedPart], *, checksums: bool = True) -> bytes:
    """Return the body of CompleteMultipartUpload; the parts are in ascending order."""
    lines = ["<CompleteMultipartUpload>"]
    for part in parts:
        crc = part.crc32 if checksums else None
        checksum = "" if crc is None else f"<ChecksumCRC32>{encode_crc32(crc)}</ChecksumCRC32>"
        lines.append(
            f"<Part><PartNumber>{part.number}</PartNumber>"
            f"<ETag>{escape(part.etag)}</ETag>{checksum}</Part>"
        )
    lines.append("</CompleteMultipartUpload>")
    return "".join(lines).encode()


def delete_request(keys: Iterable[str]) -> bytes:
    """Return the body of DeleteObjects."""
    rows = "".join(f"<Object><Key>{escape(key)}</Key></Object>" for key in keys)
    return f"<Delete><Quiet>true</Quiet>{rows}</Delete>".encode()


def delete_errors(body: bytes) -> list[str]:
    """Return the error codes in a DeleteObjects response, which has the status 200 in any case."""
    if not body.strip():
        return []
    codes = (error.findtext("Code") or "unknown" for error in parse(body).iterfind("Error"))
    return [code for code in codes if code != "NoSuchKey"]


def md5(body: bytes | bytearray | memoryview) -> str:
    """Return the Content-MD5 that some operations require: an integrity check, not security."""
    return base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()


def _parse_time(text: str | None) -> datetime | None:
    """Return the time in a listing; None for anything else than ISO 8601."""
    try:
        time = datetime.fromisoformat((text or "").strip())
        time = (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    # Whole seconds, because a HEAD response (an HTTP date) has no fractions: both have to agree.
    return time.replace(microsecond=0)


def _parse_size(text: str | None) -> int:
    text = (text or "").strip()
    if not (text.isascii() and text.isdecimal()):
        raise StorageError("The storage did not say how large an object is")
    return int(text)
