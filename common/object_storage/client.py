"""ObjectStorage: every call that the product makes to one S3 endpoint."""

from __future__ import annotations

from common.object_storage.buckets import BucketCalls
from common.object_storage.credentials import CredentialChain, Credentials
from common.object_storage.objects import ObjectCalls
from common.object_storage.transport import Calls, Transport
from common.object_storage.uploads import UploadCalls


class ObjectStorage(ObjectCalls, UploadCalls, BucketCalls):
    """Objects and uploads through the project's own client, bucket setup through boto3."""

    def __init__(
        self,
        *,
        endpoint: str | None,
        region: str,
        access_key: str | None = None,
        secret_key: str | None = None,
        session_token: str | None = None,
        public_endpoint: str | None = None,
        max_idle_connections: int = 64,
    ) -> None:
        """Create the clients.

        ``endpoint`` None means AWS. Without keys, botocore's credential chain finds them.
        ``public_endpoint`` is the address under which clients reach the storage; links use it.
        ``max_idle_connections`` are kept for the next requests; as many as threads use them.
        """
        self.endpoint = endpoint or f"https://s3.{region}.amazonaws.com"
        keys = Credentials(access_key or "", secret_key or "", session_token)
        provider = (lambda: keys) if access_key else CredentialChain()
        Calls.__init__(
            self, Transport(self.endpoint, region, provider, max_idle=max_idle_connections)
        )
        BucketCalls.__init__(
            self,
            endpoint=endpoint,
            region=region,
            credentials=keys if access_key else None,
            provider=provider,
            public_endpoint=public_endpoint,
        )
