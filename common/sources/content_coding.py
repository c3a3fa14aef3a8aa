"""Files that are stored or sent with a content coding, RFC 9110, 8.4.

Sources are asked for the file as it is, but some respond with a compressed representation all the
same, and objects in S3 can be stored with one. An archive must contain ``table.csv`` itself, or a
file whose name says that it is compressed, never compressed bytes under the name ``table.csv``.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Final

from common.errors import PermanentDownloadError, ProcessingError

#: Bytes of coded content that are read at a time. zlib copies the rest in each step.
BLOCK: Final = 64 * 1024
#: Codings that are decoded while the file is read. ``x-gzip`` is an alias (RFC 9110, 8.4.1.3).
_DECODED: Final = {"gzip": ".gz", "x-gzip": ".gz", "deflate": ".zz"}
#: Codings without a decoder in the standard library: the file keeps its bytes and is renamed.
_RENAMED: Final = {"br": ".br", "zstd": ".zst", "compress": ".Z", "x-compress": ".Z"}
#: Other endings of names that announce compressed bytes.
_ALIASES: Final = {".gz": (".gz", ".tgz", ".gzip", ".svgz"), ".zst": (".zst", ".zstd", ".tzst")}


class UnsupportedContentCoding(PermanentDownloadError):
    """A source sends a file with a content coding that this service cannot decode."""


def parse_coding(header: str | None) -> str | None:
    """Return the content coding that a ``Content-Encoding`` header names; None for none.

    Raise UnsupportedContentCoding for unknown ones and for more than one.
    """
    if not header:
        return None
    names = [name.strip().lower() for name in header.split(",")]
    # Some S3 servers store the transfer format of an upload as if it were a coding.
    codings = [name for name in names if name not in ("", "identity", "aws-chunked")]
    if not codings:
        return None
    if len(codings) > 1 or codings[0] not in _DECODED | _RENAMED:
        raise UnsupportedContentCoding
    return codings[0]


def needs_decoding(coding: str | None, name: str) -> bool:
    """Return whether a file of this name has to be decoded: ``table.csv``, but not ``x.tar.gz``."""
    return coding in _DECODED and not _announces(name, _DECODED[coding])


def coded_name(coding: str | None, name: str) -> str:
    """Return the name of a file whose bytes are kept as they are."""
    suffix = _RENAMED.get(coding or "")
    return name if suffix is None or _announces(name, suffix) else name + suffix


def _announces(name: str, suffix: str) -> bool:
    return name.lower().endswith(_ALIASES.get(suffix, (suffix.lower(),)))


class Decoder:
    """Decodes gzip or deflate in bounded steps, however well the content is compressed."""

    def __init__(self, coding: str, read: Callable[[int], bytes]) -> None:
        """``read(limit)`` returns the next bytes of the coded content, none at its end."""
        self._read = read
        self._gzip = coding != "deflate"
        self._zlib = zlib.decompressobj(zlib.MAX_WBITS | 16 if self._gzip else zlib.MAX_WBITS)
        self._input = b""
        self._started = False

    def read(self, limit: int) -> bytes:
        """Return at most ``limit`` bytes of the decoded content, none at its end."""
        while True:
            if self._zlib.eof and not self._next_member():
                return b""
            block = self._input or self._read(BLOCK)
            output = self._decompress(block, limit)
            if output:
                return output
            if not block and not self._zlib.eof:
                if self._started:
                    raise ProcessingError("A source sent compressed content that is cut off")
                return b""

    def _decompress(self, block: bytes, limit: int) -> bytes:
        try:
            output = self._zlib.decompress(block, limit)
        except zlib.error:
            if self._gzip or self._started:
                raise ProcessingError("A source sent compressed content that is damaged") from None
            # Many servers send deflate without the zlib format that RFC 9110, 8.4.1.2 requires.
            self._zlib = zlib.decompressobj(-zlib.MAX_WBITS)
            self._started = True
            return self._decompress(block, limit)
        self._started = self._started or bool(block)
        self._input = self._zlib.unconsumed_tail
        return output

    def _next_member(self) -> bool:
        """Continue with the next gzip member, if there is one (RFC 1952, 2.2)."""
        rest = self._zlib.unused_data or self._read(BLOCK)
        if not self._gzip or not rest.startswith(b"\x1f"):
            # Padding or junk behind the content, which all other tools ignore as well.
            while self._read(BLOCK):
                pass
            return False
        self._zlib, self._input = zlib.decompressobj(zlib.MAX_WBITS | 16), rest
        return True
