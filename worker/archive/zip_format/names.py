"""Makes member names safe for every operating system, and unique within an archive.

Archives have no folders: separators are replaced, so that no member can be unpacked outside of the
target folder (CWE-22, "zip slip").
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

#: The limit of common file systems for a name, in bytes of UTF-8.
MAX_BYTES = 255
_FORBIDDEN = re.compile(r'[<>:"|?*]')
#: Device names of Windows, which ignores an extension and the spaces before it.
_RESERVED = re.compile(
    r"(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³]) *(\.|$)", re.IGNORECASE
)
_DRIVE = re.compile(r"[A-Za-z]:")
# Cc control, Cf format (including direction overrides), Cs surrogates, Zl and Zp line separators.
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def safe_name(name: str, *, fallback: str) -> str:
    """Return ``name`` without anything that an operating system rejects.

    Joiners are format characters, too, but emoji and Indic scripts need them, so they stay.
    """
    text = _without_separators(unicodedata.normalize("NFC", name))
    text = "".join(
        c for c in text if c in "\u200c\u200d" or unicodedata.category(c) not in _INVISIBLE
    )
    text = _FORBIDDEN.sub("_", text).strip().rstrip(". ")
    if not text.strip("."):
        return fallback
    if _RESERVED.match(text):
        text = f"_{text}"
    return _shortened(text, MAX_BYTES).rstrip(". ") or fallback


def _without_separators(name: str) -> str:
    """Return all text of a name such as ``Q1/Q2.csv``, but only the last segment of a path.

    A path, such as ``../x``, ``/home/me/x`` or ``C:\\x``, says where the file was elsewhere.
    """
    segments = name.replace("\\", "/").split("/")
    is_path = (
        segments[0] in ("", "~")
        or segments[-1] == ""
        or _DRIVE.fullmatch(segments[0]) is not None
        or any(segment in (".", "..") for segment in segments)
    )
    return segments[-1] if is_path else "_".join(segments)


def unique_names(names: Iterable[str], *, reserved: Iterable[str] = ()) -> list[str]:
    """Add `` (2)``, `` (3)`` … before the extension of names that occurred before.

    Names are compared without case, as on Windows and macOS.
    """
    seen = {_folded(name) for name in reserved}
    last: dict[str, int] = {}
    result = []
    for name in names:
        candidate, key = name, _folded(name)
        number = last.get(key, 1)
        while _folded(candidate) in seen:
            number += 1
            candidate = _numbered(name, number)
        last[key] = number
        seen.add(_folded(candidate))
        result.append(candidate)
    return result


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name.casefold())


def _numbered(name: str, number: int) -> str:
    stem, extension = _split(name)
    mark = f" ({number}){extension}"
    return _truncate(stem, MAX_BYTES - len(mark.encode())) + mark


def _shortened(name: str, limit: int) -> str:
    if len(name.encode()) <= limit:
        return name
    stem, extension = _split(name)
    return _truncate(stem, limit - len(extension.encode())) + extension


def _split(name: str) -> tuple[str, str]:
    stem, dot, extension = name.rpartition(".")
    if not stem or len(extension.encode()) > 20:
        return name, ""
    return stem, dot + extension


def _truncate(text: str, limit: int) -> str:
    return text.encode()[:limit].decode(errors="ignore")
