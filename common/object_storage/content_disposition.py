"""Writes and reads Content-Disposition (RFC 6266, with parameters encoded by RFC 8187)."""

from __future__ import annotations

import re
import unicodedata
from email.header import decode_header, make_header
from urllib.parse import quote, unquote

from common.object_storage.s3_xml import ObjectInfo

_EXTENDED = re.compile(r"filename\*\s*=\s*([\w-]+)'[^']*'([^;\s]+)", re.IGNORECASE)
_QUOTED = re.compile(r'filename\s*=\s*"((?:[^"\\]|\\.)*)"', re.IGNORECASE)
_TOKEN = re.compile(r"filename\s*=\s*([^;\"]+)", re.IGNORECASE)


def attachment(filename: str) -> str:
    """Return the header that makes a browser save the response as ``filename``, in any script.

    Old clients read the ASCII fallback, all others ``filename*``.
    """
    cleaned = "".join(c for c in filename if unicodedata.category(c) not in ("Cc", "Cs"))
    cleaned = cleaned or "download"
    ascii_name = unicodedata.normalize("NFKD", cleaned).encode("ascii", "ignore").decode()
    fallback = re.sub(r'[\\"%/]', "_", ascii_name).strip() or "download"
    return f"attachment; filename=\"{fallback}\"; filename*=UTF-8''{quote(cleaned, safe='-._~')}"


def filename_of(header: str) -> str | None:
    """Return the file name in a Content-Disposition header; ``filename*`` has precedence."""
    if match := _EXTENDED.search(header):
        try:
            return unquote(match[2], encoding=match[1], errors="strict")
        except (LookupError, UnicodeDecodeError):
            pass
    if match := _QUOTED.search(header):
        return decoded(re.sub(r"\\(.)", r"\1", match[1]))
    if match := _TOKEN.search(header):
        return decoded(match[1].strip())
    return None


def decoded(value: str) -> str:
    """Decode a header value: RFC 2047 words, percent-encoded UTF-8, raw UTF-8, or plain text."""
    if "=?" in value:
        try:
            return str(make_header(decode_header(value)))
        except (LookupError, ValueError):
            return value
    if "%" in value:
        try:
            return unquote(value, errors="strict")
        except UnicodeDecodeError:
            return value
    try:
        return value.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return value


def object_name(info: ObjectInfo) -> str:
    """Return an object's file name: from its metadata, its disposition, or the end of its key."""
    if name := info.metadata.get("filename"):
        return decoded(name)
    if info.content_disposition and (name := filename_of(info.content_disposition)):
        return name
    return info.key.rpartition("/")[2] or info.key
