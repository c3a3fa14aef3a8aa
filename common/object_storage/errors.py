"""Errors of the object storage, and which response means which error."""

from __future__ import annotations

from common.errors import DownloadError, FileChanged, SourceForbidden, StorageError


class NoSuchKey(StorageError):
    """The object, bucket or upload does not exist in the storage."""


class NoSuchUpload(NoSuchKey):
    """The multipart upload was completed, aborted, or never created."""


class RangeNotSatisfiable(StorageError):
    """The requested range lies outside the object."""


class BadChecksum(StorageError):
    """The stored or transferred bytes do not match their checksum."""


class StorageBusy(StorageError):
    """The storage is overloaded or temporarily unavailable."""

    #: The storage asks for fewer requests.
    slow_down = False


class StorageFull(StorageError):
    """The object storage has no space left, or the quota is used up.

    Sending the request again does not help, unless someone frees space (RFC 4918, 11.5).
    """


class BucketForbidden(StorageError):
    """The object storage denied access to the bucket for archives.

    Like rejected credentials this is a problem of the installation, and not of a file.
    """


class CredentialsError(StorageError):
    """The object storage does not accept the service's credentials, or there are none.

    This is a problem of the installation and not of a file: jobs are retried, and files are never
    reported as missing because of it.
    """


#: Error codes for a key or a signature, not for one object ("Error responses" in the Amazon S3 API
#: reference).
_CREDENTIAL_CODES = frozenset(
    {
        "AccountProblem",
        "AllAccessDisabled",
        "AuthorizationHeaderMalformed",
        "ExpiredToken",
        "InvalidAccessKeyId",
        "InvalidSecurity",
        "InvalidToken",
        "NotSignedUp",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
        "TokenRefreshRequired",
    }
)


#: Error codes for a full disk or quota, besides the status 507: of Ceph and Versity (with status
#: 403), and of MinIO (with 400).
_FULL_CODES = frozenset({"QuotaExceeded", "XMinioAdminBucketQuotaExceeded", "XMinioStorageFull"})


def error_for(status: int, code: str, request: str) -> DownloadError:
    """Return the error for a response; ``request`` names the call in the operator's log."""
    message = f"The storage responded with {status} {code} to {request}".rstrip()
    if status == 412:
        return FileChanged("A file was replaced while it was being read")
    if code in {
        "BadDigest",
        "InvalidDigest",
        "XAmzContentChecksumMismatch",
        "InvalidPart",
        "XAmzContentSHA256Mismatch",
    }:
        return BadChecksum(message)
    if status == 507 or code in _FULL_CODES:
        return StorageFull(message)
    if code in _CREDENTIAL_CODES or status == 401:
        return CredentialsError(f"The object storage rejected the credentials: {code or status}")
    if code == "InvalidObjectState":
        return SourceForbidden("The file is archived (S3 Glacier) and must be restored first")
    if code == "NoSuchUpload":
        return NoSuchUpload(message)
    if status == 404:
        return NoSuchKey(message)
    if status == 416:
        return RangeNotSatisfiable(message)
    if status == 403:
        return SourceForbidden("The storage denied access")
    return StorageError(message)
