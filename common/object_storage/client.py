"""ObjectStorage: one S3 endpoint with all that the product asks of it."""

from __future__ import annotations

from collections.abc import Callable

import botocore.session

from common.object_storage.buckets import BucketCalls
from common.object_storage.calls import Calls
from common.object_storage.objects import ObjectCalls
from common.object_storage.sigv4 import Credentials
from common.object_storage.transport import Transport
from common.object_storage.uploads import UploadCalls


class ObjectStorage(ObjectCalls, UploadCalls, BucketCalls):
    """Objects by our own small client, buckets and links by boto3."""

    def __init__(
        self,
        *,
        endpoint: str | None,
        region: str,
        access_key: str | None = None,
        secret_key: str | None = None,
        session_token: str | None = None,
        public_endpoint: str | None = None,
    ) -> None:
        """``endpoint`` None is AWS itself; keys None are the machine's own (botocore's chain).

        ``public_endpoint`` is the storage as clients reach it; links point there.
        """
        self.endpoint = endpoint or f"https://s3.{region}.amazonaws.com"
        keys = Credentials(access_key or "", secret_key or "", session_token)
        provider = (lambda: keys) if access_key else _machine_credentials()
        Calls.__init__(self, Transport(self.endpoint, region, provider))
        BucketCalls.__init__(
            self,
            endpoint=endpoint,
            region=region,
            credentials=keys if access_key else None,
            provider=provider,
            public_endpoint=public_endpoint,
        )


def _machine_credentials() -> Callable[[], Credentials | None]:
    found = botocore.session.get_session().get_credentials()

    def frozen() -> Credentials | None:
        if found is None:
            return None
        keys = found.get_frozen_credentials()
        return Credentials(keys.access_key or "", keys.secret_key or "", keys.token)

    return frozen
