"""What the object storage may answer instead of data, in the terms of the one tree of errors."""

from __future__ import annotations

from common.errors import DownloadError, FileChanged, SourceForbidden, StorageError


class NoSuchKey(StorageError):
    """The object, bucket or upload does not exist in the storage."""


class NoSuchUpload(NoSuchKey):
    """The multipart upload was completed, aborted or never begun."""


class Unsatisfiable(StorageError):
    """The storage does not hold the asked range of the object."""


class BadChecksum(StorageError):
    """The storage received or holds other bytes than were announced."""


def error_for(status: int, code: str, what: str) -> DownloadError:
    """The error for one answer of the store; ``what`` names the call for the operator's log."""
    message = f"The storage answered {status} {code} to {what}".rstrip()
    if status == 412:
        return FileChanged("A file was replaced while it was being read")
    if code in {
        "BadDigest",
        "XAmzContentChecksumMismatch",
        "InvalidPart",
        "XAmzContentSHA256Mismatch",
    }:
        return BadChecksum(message)
    if code == "NoSuchUpload":
        return NoSuchUpload(message)
    if status == 404:
        return NoSuchKey(message)
    if status == 416:
        return Unsatisfiable(message)
    if status in (401, 403):
        return SourceForbidden("The storage refused access")
    return StorageError(message)
