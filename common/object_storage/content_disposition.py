"""Writes and reads Content-Disposition (RFC 6266, with parameters encoded by RFC 8187)."""

from __future__ import annotations

import re
import unicodedata
from email.errors import MessageError
from email.header import decode_header, make_header
from functools import lru_cache
from typing import Final
from urllib.parse import quote, unquote

from common.object_storage.s3_xml import ObjectInfo

#: A parameter; the quoted alternative keeps ``;`` and ``=`` inside a value from ending it.
_PARAMETER = re.compile(r';\s*([^\s;="]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^;]*)', re.DOTALL)
#: RFC 8187, 3.2.1. Characters that should have been encoded are accepted as browsers do, except
#: white space; an incomplete percent-encoding is not.
_EXT_VALUE = re.compile(r"([\w-]+)'[^']*'((?:%[0-9A-Fa-f]{2}|[!-$&-~])+)", re.ASCII)
#: RFC 8187 requires UTF-8; its predecessor also had ISO-8859-1.
_CHARSETS = frozenset({"utf-8", "iso-8859-1", "us-ascii"})


#: Characters of a value in which encoded words are decoded: the time grows with the square.
MAX_ENCODED: Final = 2_000


@lru_cache(maxsize=512)
def attachment(filename: str) -> str:
    """Return the header that makes a browser save the response as ``filename``, in any script.

    Old clients read the ASCII fallback, all others ``filename*``. Headers are cached: a list of
    jobs needs up to a hundred, which take longer than the rest of its links.
    """
    cleaned = "".join(c for c in filename if unicodedata.category(c) not in ("Cc", "Cs"))
    cleaned = cleaned or "download"
    ascii_name = unicodedata.normalize("NFKD", cleaned).encode("ascii", "ignore").decode()
    fallback = re.sub(r'[\\"%/]', "_", ascii_name).strip() or "download"
    return f"attachment; filename=\"{fallback}\"; filename*=UTF-8''{quote(cleaned, safe='-._~')}"


def parse_filename(header: str) -> str | None:
    """Return the file name in a Content-Disposition header; ``filename*`` has precedence.

    Never fails: parameters that are invalid are ignored or kept as text.
    """
    # Some servers leave out the type, and start with a parameter.
    text = header if "=" not in header.partition(";")[0] else f";{header}"
    parameters: dict[str, str] = {}
    for name, value in _PARAMETER.findall(text):
        parameters.setdefault(name.lower(), _unquote(value))
    return (
        _decode_ext_value(parameters.get("filename*", ""))
        or decode_value(parameters.get("filename", ""))
        or None
    )


def _unquote(value: str) -> str:
    value = value.strip()
    if len(value) > 1 and value[0] == value[-1] == '"':
        return re.sub(r"\\(.)", r"\1", value[1:-1], flags=re.DOTALL)
    return value.strip('"')


def _decode_ext_value(value: str) -> str | None:
    match = _EXT_VALUE.fullmatch(value)
    if match is None or match[1].lower() not in _CHARSETS:
        return None
    try:
        return unquote(match[2], encoding=match[1], errors="strict")
    except UnicodeDecodeError:
        return None


def decode_value(value: str) -> str:
    """Decode a header value: RFC 2047 words, percent-encoded UTF-8, raw UTF-8, or plain text."""
    if "=?" in value and len(value) <= MAX_ENCODED:
        try:
            text = str(make_header(decode_header(value)))
            # Some charsets can express halves of characters, which no encoding can write.
            return text.encode(errors="replace").decode()
        except (LookupError, ValueError, MessageError):
            return _decode_utf8(value)
    if "%" in value:
        try:
            return unquote(value, errors="strict")
        except UnicodeDecodeError:
            return _decode_utf8(value)
    return _decode_utf8(value)


def _decode_utf8(value: str) -> str:
    """Undo that headers are read as Latin-1, if the bytes are UTF-8."""
    if value.isascii():
        return value
    try:
        return value.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return value


def object_name(info: ObjectInfo) -> str:
    """Return an object's file name: from its metadata, its disposition, or the end of its key."""
    if name := info.metadata.get("filename"):
        return decode_value(name)
    if info.content_disposition and (name := parse_filename(info.content_disposition)):
        return name
    return info.key.rpartition("/")[2] or info.key
