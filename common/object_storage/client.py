"""ObjectStorage: every call that the product makes to one S3 endpoint."""

from __future__ import annotations

from common.object_storage.buckets import BucketCalls
from common.object_storage.credentials import CredentialChain, Credentials
from common.object_storage.endpoints import Endpoints
from common.object_storage.objects import ObjectCalls
from common.object_storage.options import StorageOptions
from common.object_storage.transport import Calls, Transport
from common.object_storage.uploads import UploadCalls


class ObjectStorage(ObjectCalls, UploadCalls, BucketCalls):
    """Objects and uploads through the project's own client, bucket setup through boto3."""

    def __init__(
        self,
        *,
        endpoint: str | None,
        region: str | None,
        access_key: str | None = None,
        secret_key: str | None = None,
        session_token: str | None = None,
        public_endpoint: str | None = None,
        max_idle_connections: int = 64,
        options: StorageOptions | None = None,
    ) -> None:
        """Create the clients.

        ``endpoint`` and ``region`` None are taken from the environment and the profile, as in all
        AWS tools. Without keys, botocore's credential chain finds them.
        ``public_endpoint`` is the address under which clients reach the storage; links use it.
        ``max_idle_connections`` are kept for the next requests; as many as threads use them.
        """
        endpoints = Endpoints(endpoint, region)
        options = options or StorageOptions()
        self.endpoint = endpoints.url()
        keys = Credentials(access_key or "", secret_key or "", session_token)
        provider = (lambda: keys) if access_key else CredentialChain()
        transport = Transport(
            self.endpoint,
            endpoints.region,
            provider,
            endpoints=endpoints,
            max_idle=max_idle_connections,
            headers=options.every_request,
        )
        Calls.__init__(self, transport, options)
        BucketCalls.__init__(
            self,
            endpoint=endpoint,
            endpoints=endpoints,
            credentials=keys if access_key else None,
            provider=provider,
            public_endpoint=public_endpoint,
            options=options,
        )

    def can_link(self, bucket: str) -> bool:
        """Return whether links to a bucket work: they are signed for the configured region."""
        return not self._transport.is_redirected(bucket)
