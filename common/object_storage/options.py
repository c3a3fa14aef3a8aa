"""Headers for requests to S3 that depend on how a bucket is set up."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class StorageOptions:
    """Encryption, ownership and cost of objects; empty values are not sent."""

    #: ``AES256`` or ``aws:kms``.
    encryption: str = ""
    #: The key for ``aws:kms``.
    kms_key_id: str = ""
    #: A canned ACL, such as ``bucket-owner-full-control``.
    acl: str = ""
    #: The class of archives, such as ``STANDARD_IA``.
    storage_class: str = ""
    #: The account that must own the archive bucket.
    bucket_owner: str = ""
    #: ``requester`` to pay for requests to buckets of others.
    request_payer: str = ""

    @property
    def every_request(self) -> dict[str, str]:
        """Return the headers of every request."""
        return _given({"x-amz-request-payer": self.request_payer})

    @property
    def every_write(self) -> dict[str, str]:
        """Return the headers of every request that changes the archive bucket."""
        return _given({"x-amz-expected-bucket-owner": self.bucket_owner})

    @property
    def new_object(self) -> dict[str, str]:
        """Return the headers of requests that create an object."""
        return {
            **self.every_write,
            **_given(
                {
                    "x-amz-server-side-encryption": self.encryption,
                    "x-amz-server-side-encryption-aws-kms-key-id": self.kms_key_id,
                    "x-amz-acl": self.acl,
                }
            ),
        }

    @property
    def new_archive(self) -> dict[str, str]:
        """Return the headers of requests that create an archive."""
        return {**self.new_object, **_given({"x-amz-storage-class": self.storage_class})}


def _given(headers: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if value}
