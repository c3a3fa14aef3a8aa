"""Bucket setup and health checks through boto3, and presigned links."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import boto3
import structlog
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from common.errors import BackendUnavailable, StorageError
from common.object_storage import s3_xml
from common.object_storage.content_disposition import attachment
from common.object_storage.credentials import Credentials
from common.object_storage.endpoints import BucketAddress, Endpoints
from common.object_storage.lifecycle import expiry_days, has_own_rules, merge_rules
from common.object_storage.options import StorageOptions
from common.object_storage.sigv4 import Signer

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

#: A health check has to fail fast; setting up a bucket may take longer.
CHECK_TIMEOUT = 2.0
SETUP_TIMEOUT = 20.0
_RETRYABLE_STATUSES = frozenset({429, 500, 502, 503, 504})

log = structlog.get_logger(__name__)


class BucketCalls:
    """Operations on buckets, and presigned links."""

    def __init__(
        self,
        *,
        endpoint: str | None,
        endpoints: Endpoints,
        credentials: Credentials | None,
        provider: Callable[[], Credentials | None],
        public_endpoint: str | None,
        options: StorageOptions,
    ) -> None:
        """Create the boto3 clients.

        ``provider`` returns the credentials that links are signed with. Without ``credentials``
        boto3 finds its own.
        """

        region, is_aws = endpoints.region, endpoints.is_aws

        def client(timeout: float = CHECK_TIMEOUT, max_attempts: int = 1) -> S3Client:
            config = Config(
                signature_version="s3v4",
                s3={"addressing_style": "auto" if is_aws else "path"},
                connect_timeout=timeout / 2,
                read_timeout=timeout / 2,
                retries={"total_max_attempts": max_attempts},
            )
            created: S3Client = boto3.client(
                "s3",
                endpoint_url=endpoint,
                region_name=region,
                aws_access_key_id=credentials.access_key if credentials else None,
                aws_secret_access_key=credentials.secret_key if credentials else None,
                aws_session_token=credentials.token if credentials else None,
                config=config,
            )
            return created

        #: A bucket of the same name that belongs to another account is not touched.
        self._owner: dict[str, Any] = (
            {"ExpectedBucketOwner": options.bucket_owner} if options.bucket_owner else {}
        )
        self._client = client()
        self._setup = client(SETUP_TIMEOUT, max_attempts=3)
        self._setup.meta.events.register(
            "before-call.s3.PutBucketLifecycleConfiguration", _add_content_md5
        )
        self._provider = provider
        #: In a link it is a parameter ("Downloading objects from Requester Pays buckets").
        self._link_query = options.every_request
        self._links = endpoints if public_endpoint is None else Endpoints(public_endpoint, region)
        #: Bucket and style -> where its links point to, and the signer for its region.
        self._link_bases: dict[tuple[str, bool], tuple[BucketAddress, Signer]] = {}

    def presign_get(
        self, bucket: str, key: str, *, filename: str, content_type: str, expires_in: int
    ) -> str:
        """Return a link that lets anyone read the object for ``expires_in`` seconds (≤ 7 days)."""
        address, signer = self._link_base(bucket)
        query = self._response_headers(filename, content_type)
        path = address.path + quote(key, safe="/-_.~")
        return signer.presign(address.base_url, path, query, expires_in=expires_in)

    def presign_for_proxy(
        self,
        method: str,
        bucket: str,
        key: str,
        *,
        filename: str,
        content_type: str,
        expires_in: int,
    ) -> str:
        """Return a link to the object for a proxy that knows one host of the storage.

        ``method``: GET or HEAD; a signature is valid for one of them.
        """
        address, signer = self._link_base(bucket, path_style=True)
        query = self._response_headers(filename, content_type)
        path = address.path + quote(key, safe="/-_.~")
        return signer.presign(address.base_url, path, query, expires_in=expires_in, method=method)

    def _response_headers(self, filename: str, content_type: str) -> dict[str, str]:
        return {
            "response-content-disposition": attachment(filename),
            "response-content-type": content_type,
            **self._link_query,
        }

    def links_expire_at(self) -> int | None:
        """Return when links stop working because the session ends, in ms since 1970, or None."""
        credentials = self._provider()
        expires_at = None if credentials is None else credentials.expires_at
        return None if expires_at is None else int(expires_at * 1000)

    def refresh_credentials(self) -> None:
        """Fetch temporary credentials that are about to expire, so that signing does not wait.

        Raises ``CredentialsError``.
        """
        self._provider()

    def _link_base(self, bucket: str, *, path_style: bool = False) -> tuple[BucketAddress, Signer]:
        found = self._link_bases.get((bucket, path_style))
        if found is None:
            address = self._links.link(bucket, path_style=path_style)
            found = (address, Signer(lambda: self._provider(), address.region))
            self._link_bases[bucket, path_style] = found
        return found

    def check(self, bucket: str) -> None:
        """Raise BackendUnavailable unless the storage responds within 2 seconds.

        A missing bucket is fine: a worker creates it when it starts.
        """
        try:
            self._client.head_bucket(Bucket=bucket)
        except (BotoCoreError, ClientError) as error:
            if isinstance(error, ClientError) and _status(error) == 404:
                return
            raise BackendUnavailable("The object storage is unavailable") from error

    def ensure_bucket(self, bucket: str, *, ttl: int | None = None) -> bool:
        """Create the bucket if it is missing. With ``ttl`` (seconds), Longhaul's objects expire.

        Return whether lifecycle rules delete them: some storages have none, or the credentials do
        not permit setting them. Rules of others, and objects outside Longhaul's prefixes, are not
        changed.
        """
        self._provider()  # Raises CredentialsError if there are none.
        try:
            self._create(bucket)
            return ttl is not None and self._set_expiry(bucket, expiry_days(ttl))
        except (BotoCoreError, ClientError) as error:
            reason = _code(error) if isinstance(error, ClientError) else type(error).__name__
            raise StorageError(f"The bucket {bucket} could not be set up: {reason}") from error

    def _create(self, bucket: str) -> None:
        try:
            self._setup.head_bucket(Bucket=bucket, **self._owner)
        except ClientError as error:
            if _status(error) in _RETRYABLE_STATUSES:
                raise
            if _status(error) != 404:
                # A role that may write objects need not be allowed to look at the bucket, and not
                # every storage implements the call.
                log.warning(
                    "cannot check whether the bucket exists", bucket=bucket, code=_code(error)
                )
                return
        else:
            return
        region = self._setup.meta.region_name
        try:
            if region == "us-east-1":
                self._setup.create_bucket(Bucket=bucket)
            else:
                self._setup.create_bucket(
                    Bucket=bucket,
                    CreateBucketConfiguration={"LocationConstraint": region},  # type: ignore[typeddict-item]
                )
        except ClientError as error:
            if _code(error) not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                raise

    def _set_expiry(self, bucket: str, days: int) -> bool:
        try:
            configuration = self._lifecycle_configuration(bucket)
            rules = merge_rules(configuration.pop("Rules", []), days)
            if rules is not None:
                self._setup.put_bucket_lifecycle_configuration(
                    Bucket=bucket,
                    LifecycleConfiguration={"Rules": rules},  # type: ignore[typeddict-item]
                    **configuration,
                    **self._owner,
                )
            # Some servers take the request for another one, and respond with 200.
            confirmed = has_own_rules(self._lifecycle_configuration(bucket).get("Rules", []))
        except ClientError as error:
            if _status(error) in _RETRYABLE_STATUSES:
                raise
            log.warning("lifecycle rules not set", bucket=bucket, code=_code(error))
            return False
        if not confirmed:
            log.warning("lifecycle rules not set", bucket=bucket, code="not stored")
        return confirmed

    def _lifecycle_configuration(self, bucket: str) -> dict[str, Any]:
        """Return the rules of a bucket, and the option that the next PUT would reset."""
        try:
            response = self._setup.get_bucket_lifecycle_configuration(Bucket=bucket, **self._owner)
        except ClientError as error:
            if _code(error) == "NoSuchLifecycleConfiguration":
                return {}
            raise
        names = ("Rules", "TransitionDefaultMinimumObjectSize")
        return {name: response[name] for name in names if response.get(name)}  # type: ignore[literal-required]


def _add_content_md5(params: dict[str, Any], **_: Any) -> None:
    """Add the header that several servers require for a lifecycle configuration (botocore#3415)."""
    params["headers"]["Content-MD5"] = s3_xml.md5(params["body"])


def _code(error: ClientError) -> str:
    return error.response["Error"].get("Code", "")


def _status(error: ClientError) -> int:
    return int(error.response["ResponseMetadata"]["HTTPStatusCode"])
