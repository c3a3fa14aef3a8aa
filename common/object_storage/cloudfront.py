"""Links to an Amazon CloudFront distribution in front of the archive bucket.

Rules: "Create a signed URL using a canned policy" in the Amazon CloudFront developer guide.
botocore has them; the key is the operator's.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlencode

from botocore.signers import CloudFrontSigner
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from common.object_storage.content_disposition import attachment

if TYPE_CHECKING:
    from common.jobs.presenter import LinkSigner

_HOST: Final = re.compile(r"[a-z0-9.-]+", re.IGNORECASE)


class CloudFrontLinks:
    """Signs links to the objects of one bucket; those of other buckets are signed by another."""

    def __init__(
        self, *, domain: str, key_pair_id: str, private_key: bytes, bucket: str, others: LinkSigner
    ) -> None:
        """``private_key``: PEM. ``others`` signs links to files that are delivered as they are.

        Raises ``ValueError`` if the key or the domain is invalid.
        """
        if not _HOST.fullmatch(domain):
            raise ValueError("not a host name")
        key = load_pem_private_key(private_key, password=None)
        if not isinstance(key, RSAPrivateKey):
            raise ValueError("not an RSA key")  # noqa: TRY004 - the type of the key is its value
        self._domain = domain
        self._bucket = bucket
        self._others = others
        # CloudFront verifies SHA-1 only.
        self._signer = CloudFrontSigner(
            key_pair_id,
            lambda message: key.sign(message, PKCS1v15(), SHA1()),  # noqa: S303
        )

    def presign_get(
        self, bucket: str, key: str, *, filename: str, content_type: str, expires_in: int
    ) -> str:
        """Return a link that lets anyone read the object for ``expires_in`` seconds."""
        if bucket != self._bucket:
            return self._others.presign_get(
                bucket, key, filename=filename, content_type=content_type, expires_in=expires_in
            )
        query = urlencode(
            {
                "response-content-disposition": attachment(filename),
                "response-content-type": content_type,
            },
            quote_via=quote,
        )
        url: str = self._signer.generate_presigned_url(
            f"https://{self._domain}/{quote(key, safe='/-_.~')}?{query}",
            date_less_than=datetime.now(UTC) + timedelta(seconds=expires_in),
        )
        return url
