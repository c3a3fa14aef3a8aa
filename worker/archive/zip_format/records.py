"""The records of a ZIP file (PKWARE APPNOTE 6.3.10), and their sizes without building them.

Members are stored, not deflated, and their sizes precede them: there are no data descriptors, which
macOS cannot open above 4 GiB and streaming readers handle badly. Names are UTF-8 (flag bit 11). The
time is written twice: as MS-DOS time in UTC, and as the Unix time of Info-ZIP's extra field ``UT``.
Zip64 records are written only where a 32-bit field is too small.
"""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from functools import lru_cache

#: The media type of a ZIP file.
CONTENT_TYPE = "application/zip"
LIMIT32 = 0xFFFFFFFF
LIMIT16 = 0xFFFF
#: 1980-01-01 and 2107-12-31 23:59:58 UTC, the limits of MS-DOS time.
EARLIEST, LATEST = 315_532_800, 4_354_819_198
#: The Unix time in the extra field is a signed 32-bit number.
LATEST_UNIX = 0x7FFFFFFF

VERSION, VERSION_ZIP64 = 20, 45
MADE_BY_UNIX = 3 << 8
REGULAR_FILE_RW_R_R = 0o100644 << 16
UTF8 = 1 << 11
TIME_EXTRA_SIZE = 9
LOCAL_ZIP64_SIZE = 20

_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_TIME_EXTRA = struct.Struct("<2sHBi")
_LOCAL_ZIP64 = struct.Struct("<2H2Q")
_END64 = struct.Struct("<4sQ2H2I4Q")
_LOCATOR64 = struct.Struct("<4sIQI")
_END = struct.Struct("<4s4H2IH")


def timestamp(moment: datetime | None) -> int:
    """Return a member's time in seconds since the epoch; the earliest possible if it is unknown."""
    if moment is None:
        return EARLIEST
    return min(max(int(moment.timestamp()), EARLIEST), LATEST)


def needs_zip64(size: int) -> bool:
    return size >= LIMIT32


def local_header_size(name: bytes, *, zip64: bool) -> int:
    return _LOCAL.size + len(name) + TIME_EXTRA_SIZE + (LOCAL_ZIP64_SIZE if zip64 else 0)


def local_header(name: bytes, *, size: int, crc32: int, time: int, zip64: bool) -> bytes:
    """Return the record before a member's bytes. ``zip64`` may be set for a small member, too."""
    extra = _time_extra(time)
    size32 = size
    if zip64:
        extra += _LOCAL_ZIP64.pack(1, 16, size, size)
        size32 = LIMIT32
    return (
        _LOCAL.pack(
            *(b"PK\x03\x04", VERSION_ZIP64 if zip64 else VERSION, UTF8, 0, *_dos(time)),
            *(crc32, size32, size32, len(name), len(extra)),
        )
        + name
        + extra
    )


def central_entry_size(name: bytes, *, size: int, offset: int) -> int:
    return _CENTRAL.size + len(name) + TIME_EXTRA_SIZE + len(_central_zip64(size, offset))


def central_entry(name: bytes, *, size: int, crc32: int, time: int, offset: int) -> bytes:
    """Return a member's entry in the directory; ``offset`` is that of its local header."""
    zip64 = _central_zip64(size, offset)
    extra = _time_extra(time) + zip64
    version = VERSION_ZIP64 if zip64 else VERSION
    size32 = min(size, LIMIT32)
    return (
        _CENTRAL.pack(
            *(b"PK\x01\x02", MADE_BY_UNIX | version, version, UTF8, 0, *_dos(time)),
            *(crc32, size32, size32, len(name), len(extra), 0, 0, 0),
            *(REGULAR_FILE_RW_R_R, min(offset, LIMIT32)),
        )
        + name
        + extra
    )


def end_records_size(*, count: int, size: int, offset: int) -> int:
    return _END.size + (_END64.size + _LOCATOR64.size if _end_zip64(count, size, offset) else 0)


def end_records(*, count: int, size: int, offset: int) -> bytes:
    """Return the end of the file, for ``count`` entries in ``size`` bytes at ``offset``."""
    end64 = b""
    if _end_zip64(count, size, offset):
        end64 = _END64.pack(
            *(b"PK\x06\x06", _END64.size - 12, MADE_BY_UNIX | VERSION_ZIP64, VERSION_ZIP64),
            *(0, 0, count, count, size, offset),
        ) + _LOCATOR64.pack(b"PK\x06\x07", 0, offset + size, 1)
    count16 = min(count, LIMIT16)
    return end64 + _END.pack(
        *(b"PK\x05\x06", 0, 0, count16, count16),
        *(min(size, LIMIT32), min(offset, LIMIT32), 0),
    )


def _end_zip64(count: int, size: int, offset: int) -> bool:
    return count >= LIMIT16 or size >= LIMIT32 or offset >= LIMIT32


def _central_zip64(size: int, offset: int) -> bytes:
    fields = b""
    if size >= LIMIT32:
        fields += struct.pack("<2Q", size, size)
    if offset >= LIMIT32:
        fields += struct.pack("<Q", offset)
    return struct.pack("<2H", 1, len(fields)) + fields if fields else b""


def _time_extra(time: int) -> bytes:
    return _TIME_EXTRA.pack(b"UT", 5, 1, min(time, LATEST_UNIX))


# Cached: files that were uploaded together have the same time, and each one is written twice.
@lru_cache(maxsize=1024)
def _dos(time: int) -> tuple[int, int]:
    t = datetime.fromtimestamp(time, UTC)
    return (
        t.hour << 11 | t.minute << 5 | t.second // 2,
        (t.year - 1980) << 9 | t.month << 5 | t.day,
    )
