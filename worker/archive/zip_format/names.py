"""Makes member names safe for every operating system, and unique within an archive.

Only a path that the client requested makes folders; in the name of a file, separators are replaced.
No member can be unpacked outside of the target folder (CWE-22, "zip slip").
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator
from itertools import dropwhile

#: The limit of common file systems for a name, in bytes of UTF-8.
MAX_BYTES = 255
#: The limit of macOS for a path, in bytes of UTF-8; Linux allows four times as many.
MAX_PATH_BYTES = 1024
_FORBIDDEN = re.compile(r'[<>:"|?*]')
#: Device names of Windows, which ignores an extension and the spaces before it.
_RESERVED = re.compile(
    r"(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³]) *(\.|$)", re.IGNORECASE
)
#: Windows ignores dots and spaces at the end.
_IGNORED_END = re.compile(r"[\s.]+\Z")
_DRIVE = re.compile(r"[A-Za-z]:")
# Cc control, Cf format (including direction overrides), Cs surrogates, Zl and Zp line separators.
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
#: Zero-width joiners are format characters, too, but emoji and Indic scripts need them.
_JOINERS = "\u200c\u200d"


def safe_name(name: str, *, fallback: str) -> str:
    """Return ``name`` without anything that an operating system rejects, in Unicode's form NFC."""
    return _safe_segment(_without_separators(name)) or fallback


def safe_path(path: str, *, own_name: str) -> str:
    """Return a relative path of safe names; the last one is ``own_name`` if ``path`` ends in ``/``.

    Segments that name nothing are left out, as unpackers do: ``..``, drive letters, empty ones.
    Of a path that is too long, the outer folders and the name remain.
    """
    segments = path.replace("\\", "/").split("/")
    *folders, name = ("" if _DRIVE.fullmatch(s) else _safe_segment(s) for s in segments)
    # One byte is left for the underscore of ``unique_names``.
    below_home = dropwhile("~".__eq__, filter(None, folders))
    kept = _fitting(below_home, MAX_PATH_BYTES - MAX_BYTES - 1)
    return "/".join([*kept, name or own_name])


def _safe_segment(text: str) -> str:
    """Return one segment of a path as a safe name; empty if nothing remains."""
    if not (text.isascii() and text.isprintable()):
        text = "".join(
            c for c in text if c in _JOINERS or unicodedata.category(c) not in _INVISIBLE
        )
        # Not before: what was invisible may have stood between a letter and its accent.
        text = unicodedata.normalize("NFC", text)
    text = _shortened(_IGNORED_END.sub("", _FORBIDDEN.sub("_", text).lstrip()))
    if _RESERVED.match(text):
        text = _shortened(f"_{text}")
    # HFS+ ignores joiners, so that dots with one are the parent folder there (CVE-2014-9390).
    return text if text.strip(f". {_JOINERS}") else ""


def _fitting(folders: Iterable[str], limit: int) -> Iterator[str]:
    """Yield the outer folders that have at most ``limit`` bytes, with a slash behind each."""
    for folder in folders:
        limit -= len(folder.encode()) + 1
        if limit < 0:
            return
        yield folder


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

    Names are compared without case, as on Windows and macOS. They may be paths. A path cannot be
    both a file and a folder, so a file is numbered if its path is also the folder of another one,
    and a folder at the top gets an underscore if its name is one of the ``reserved`` files.
    """
    seen = {_folded(name) for name in reserved}
    paths = [_beside(name, seen) for name in names]
    seen.update(map(_folded, _folders(paths)))
    #: The last number by what is numbered: long names share it after they were truncated.
    last: dict[str, int] = {}
    result = []
    for path in paths:
        candidate = path
        folded = _folded(path)
        key = _folded(_numbered(path, 0)) if folded in seen else ""
        number = last.get(key, 1)
        while folded in seen:
            number += 1
            candidate = _numbered(path, number)
            folded = _folded(candidate)
        if key:
            last[key] = number
        seen.add(folded)
        result.append(candidate)
    return result


def _beside(path: str, files: Collection[str]) -> str:
    """Return the path in another folder if its outermost folder has the name of a file."""
    top, slash, _ = path.partition("/")
    return f"_{path}" if slash and _folded(top) in files else path


def _folders(paths: Iterable[str]) -> set[str]:
    """Return all folders of the paths, including those around other folders."""
    folders: set[str] = set()
    for path in paths:
        folder = path.rpartition("/")[0]
        while folder and folder not in folders:
            folders.add(folder)
            folder = folder.rpartition("/")[0]
    return folders


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name.casefold())


def _numbered(path: str, number: int) -> str:
    folder, slash, name = path.rpartition("/")
    stem, extension = _split(name)
    mark = f" ({number}){extension}"
    return folder + slash + _truncate(stem, MAX_BYTES - len(mark.encode())) + mark


def _shortened(name: str) -> str:
    if len(name.encode()) <= MAX_BYTES:
        return name
    stem, extension = _split(name)
    shortened = _truncate(stem, MAX_BYTES - len(extension.encode())) + extension
    return _IGNORED_END.sub("", shortened)


def _split(name: str) -> tuple[str, str]:
    stem, dot, extension = name.rpartition(".")
    if not stem or len(extension.encode()) > 20:
        return name, ""
    return stem, dot + extension


def _truncate(text: str, limit: int) -> str:
    return text.encode()[:limit].decode(errors="ignore")
