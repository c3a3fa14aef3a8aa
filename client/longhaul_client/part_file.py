"""The file of an unfinished download: a later call continues it, and only one process writes it."""

from __future__ import annotations

import errno
import io
import os
import sys
import zlib
from io import FileIO
from pathlib import Path
from typing import BinaryIO, Self

from .errors import TransferFailed

if sys.platform == "win32":
    import msvcrt

    def _lock(file: FileIO) -> None:
        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(file: FileIO) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


class PartFile:
    """An open file that is locked until it is closed.

    Everything goes through one handle, because Windows keeps other handles out of a locked range.
    """

    def __init__(self, path: Path) -> None:
        """Open and lock the file. Raise ``TransferFailed`` if another download uses it."""
        self.path = path
        # Unbuffered, so that the bytes of an interrupted transfer are on disk.
        self._file = path.open("a+b", buffering=0)
        try:
            self._require_sole_use()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def size(self) -> int:
        return os.fstat(self._file.fileno()).st_size

    def append(self, chunk: bytes) -> None:
        """Write the chunk at the end of the file."""
        write_all(self._file, chunk)

    def clear(self) -> None:
        """Remove all bytes."""
        self._file.truncate(0)

    def crc32(self) -> int:
        """Return the CRC32 of all bytes."""
        self._file.seek(0)
        checksum = 0
        while chunk := self._file.read(1 << 20):
            checksum = zlib.crc32(chunk, checksum)
        return checksum

    def move_to(self, target: Path) -> None:
        """Rename the file while it is locked."""
        self._close_on_windows()
        self.path.replace(target)

    def delete(self) -> None:
        """Delete the file while it is locked."""
        self._close_on_windows()
        self.path.unlink()

    def _require_sole_use(self) -> None:
        try:
            _lock(self._file)
        except OSError as error:
            # Any other error means that the file system has no locks.
            if error.errno in (errno.EAGAIN, errno.EACCES, errno.EDEADLK):
                raise self._in_use() from error
        # Another download may have renamed or deleted the file after it was opened here.
        if not self._has_its_name():
            raise self._in_use()

    def _has_its_name(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self._file.fileno()), self.path.stat())
        except FileNotFoundError:
            return False

    def _in_use(self) -> TransferFailed:
        return TransferFailed(
            f"another process is downloading this archive to {self.path}. Wait until it has "
            "finished, or choose another output file"
        )

    def _close_on_windows(self) -> None:
        """Close the file where an open file can be neither renamed nor deleted."""
        if os.name == "nt":
            self._file.close()


def write_all(stream: BinaryIO | FileIO, chunk: bytes) -> None:
    """Write the whole chunk. An unbuffered stream may take only a part of it at a time."""
    rest = chunk
    while rest:
        written = stream.write(rest)
        if written is None and not isinstance(stream, io.RawIOBase):
            return  # An object of the caller that has no count, and wrote everything.
        if not written:
            raise BlockingIOError(errno.EAGAIN, "the output does not accept more bytes")
        rest = rest[written:]
