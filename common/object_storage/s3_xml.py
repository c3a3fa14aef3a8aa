"""The XML documents of the S3 API, read and written. The names are those of the API reference."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from common.errors import StorageError


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectInfo:
    """What the store says of one object."""

    key: str
    size: int
    etag: str
    modified: datetime | None
    content_type: str | None
    metadata: dict[str, str]
    content_disposition: str | None
    #: CRC32 of the whole object; None where none is stored or it is one of parts (COMPOSITE).
    crc32: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ListedObject:
    """One line of a listing: no metadata there."""

    key: str
    size: int
    etag: str
    modified: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class UploadedPart:
    """One uploaded part; ``crc32`` is the store's own figure, or None where it gave none."""

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
    """The checksum from its header or element; None for none and for a composite (``…-7``)."""
    if not text or "-" in text:
        return None
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError:
        return None
    return int.from_bytes(raw, "big") if len(raw) == 4 else None


def parse(body: bytes) -> ElementTree.Element:
    """The root with all namespaces taken away. The sender is the operator's own storage."""
    try:
        root = ElementTree.fromstring(body)  # noqa: S314
    except ElementTree.ParseError as error:
        raise StorageError("The storage's answer is no XML") from error
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    return root


def error_code(body: bytes) -> str:
    """The ``<Code>`` of an error document; empty where there is none."""
    try:
        return parse(body).findtext("Code") or ""
    except StorageError:
        return ""


def info(key: str, headers: dict[str, str]) -> ObjectInfo:
    """An object's description from the headers of a HEAD or GET."""
    composite = headers.get("x-amz-checksum-type", "").upper() == "COMPOSITE"
    modified = headers.get("last-modified")
    return ObjectInfo(
        key=key,
        size=int(headers.get("content-length", "0")),
        etag=headers.get("etag", ""),
        modified=parsedate_to_datetime(modified) if modified else None,
        content_type=headers.get("content-type"),
        metadata={n[11:]: v for n, v in headers.items() if n.startswith("x-amz-meta-")},
        content_disposition=headers.get("content-disposition"),
        crc32=None if composite else decode_crc32(headers.get("x-amz-checksum-crc32")),
    )


def listed(root: ElementTree.Element) -> Iterator[ListedObject]:
    for item in root.iterfind("Contents"):
        yield ListedObject(
            key=item.findtext("Key") or "",
            size=int(item.findtext("Size") or 0),
            etag=item.findtext("ETag") or "",
            modified=_time(item.findtext("LastModified")),
        )


def uploads(root: ElementTree.Element) -> Iterator[MultipartUpload]:
    for item in root.iterfind("Upload"):
        yield MultipartUpload(
            key=item.findtext("Key") or "",
            upload_id=item.findtext("UploadId") or "",
            initiated=_time(item.findtext("Initiated")),
        )


def complete_request(parts: Iterable[UploadedPart]) -> bytes:
    """The body of CompleteMultipartUpload, parts in ascending order."""
    lines = ["<CompleteMultipartUpload>"]
    for part in parts:
        crc = part.crc32
        checksum = "" if crc is None else f"<ChecksumCRC32>{encode_crc32(crc)}</ChecksumCRC32>"
        lines.append(
            f"<Part><PartNumber>{part.number}</PartNumber>"
            f"<ETag>{escape(part.etag)}</ETag>{checksum}</Part>"
        )
    lines.append("</CompleteMultipartUpload>")
    return "".join(lines).encode()


def delete_request(keys: Iterable[str]) -> bytes:
    """The body of DeleteObjects."""
    rows = "".join(f"<Object><Key>{escape(key)}</Key></Object>" for key in keys)
    return f"<Delete><Quiet>true</Quiet>{rows}</Delete>".encode()


def md5(body: bytes) -> str:
    """The Content-MD5 that DeleteObjects asks for; no defence, only an echo."""
    return base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()


def _time(text: str | None) -> datetime | None:
    if not text:
        return None
    # Whole seconds, so that a listing and a HEAD (an HTTP date) agree on an object's version.
    return datetime.fromisoformat(text).astimezone(UTC).replace(microsecond=0)
