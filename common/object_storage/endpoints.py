"""Where requests go: endpoints, regions, certificates and proxies, as in every AWS tool.

botocore has the rules for regions and partitions, FIPS and dual-stack endpoints and access points,
and reads AWS_ENDPOINT_URL_S3, AWS_USE_FIPS_ENDPOINT, AWS_USE_DUALSTACK_ENDPOINT, AWS_CA_BUNDLE,
HTTPS_PROXY, NO_PROXY and the profile. They apply to data, bucket setup and links alike.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple
from urllib.parse import parse_qs, quote, urlsplit

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError
from botocore.utils import get_environ_proxies

from common.errors import StorageError
from common.object_storage.sigv4 import host_header

DEFAULT_REGION = "us-east-1"
#: The domains of the partitions: commercial and GovCloud, China, and the isolated ones.
_AWS_DOMAINS = (
    ".amazonaws.com", ".amazonaws.com.cn", ".c2s.ic.gov", ".sc2s.sgov.gov", ".adc-e.uk",
    ".csp.hci.ic.gov", ".amazonaws.eu",
)  # fmt: skip


#: ARNs of access points of one region ("Amazon Resource Names" in the Amazon S3 user guide). With a
#: slash before the name, it would look like a part of the key in ``s3://bucket/key``.
_ACCESS_POINT = re.compile(r"arn:[a-z-]+:s3:[a-z0-9-]+:[0-9]{12}:accesspoint:[a-z0-9-]+")
#: The suffix of names that stand for an access point, and of directory buckets.
_ALIAS_SUFFIX, _DIRECTORY_SUFFIX = "-s3alias", "--x-s3"


def check_bucket_name(name: str) -> None:
    """Raise ValueError for the name of something that this client cannot send requests to."""
    if name.endswith(_DIRECTORY_SUFFIX):
        raise ValueError(f"{name}: directory buckets (S3 Express One Zone) are not supported")
    if not name.startswith("arn:") or _ACCESS_POINT.fullmatch(name):
        return
    if name.endswith(".mrap"):
        raise ValueError(
            f"{name}: Multi-Region Access Points need signatures of version 4A, which are not "
            "supported. Use an access point of one region."
        )
    raise ValueError(
        f"{name} is not supported. The ARN of an access point looks like this: "
        "arn:aws:s3:eu-west-1:123456789012:accesspoint:name"
    )


class BucketAddress(NamedTuple):
    """The server of a bucket, the path prefix of its keys, and the region to sign for."""

    base_url: str
    path: str
    region: str


class Endpoints:
    """Resolves the endpoints of one configuration."""

    def __init__(self, endpoint: str | None = None, region: str | None = None) -> None:
        """Without arguments, everything comes from the environment and the profile."""
        self._session = botocore.session.Session()
        self._endpoint = endpoint
        self._urls: dict[str, str] = {}
        self.region = region or self._session.get_config_variable("region") or DEFAULT_REGION

    @property
    def is_aws(self) -> bool:
        """Return whether the endpoint is one of AWS, in any partition."""
        host = urlsplit(self.url()).hostname or ""
        return host.startswith(("s3.", "s3-")) and host.endswith(_AWS_DOMAINS)

    @property
    def ca_bundle(self) -> str | None:
        """Return the file with the certificate authorities to trust, if it is configured."""
        path = self._session.get_config_variable("ca_bundle")
        return None if path is None else str(path)

    def url(self, region: str | None = None) -> str:
        """Return the URL that bucket names are appended to, by default for the own region."""
        if self._endpoint is not None:
            return self._endpoint.rstrip("/")
        name = region or self.region
        if name not in self._urls:
            address = self.bucket("bucket", name)
            self._urls[name] = address.base_url + address.path.removesuffix("/bucket/")
        return self._urls[name]

    def link(self, bucket: str, *, path_style: bool = False) -> BucketAddress:
        """Return where links to the objects of a bucket point to.

        On AWS that is the host of the bucket in its region: new buckets are redirected from the
        global host for some hours, and a signed link cannot follow. Names with dots do not match
        the certificate of such a host. ``path_style``: return the host that all buckets share, if
        the name does not stand for an access point.
        """
        if self.has_own_host(bucket):
            return self.bucket(bucket, style="virtual")
        if not self.is_aws:
            parts = urlsplit(f"{self.url()}/{bucket}/")
            base = f"{parts.scheme}://{host_header(parts.geturl())}"
            return BucketAddress(base, quote(parts.path, "/-_.~"), self.region)
        return self.bucket(bucket, style="path" if path_style or "." in bucket else "virtual")

    def has_own_host(self, bucket: str) -> bool:
        """Return whether a name stands for an access point, which a path cannot address.

        See "Accessing a bucket through S3 access points" in the Amazon S3 user guide.
        """
        return bucket.startswith("arn:") or (bucket.endswith(_ALIAS_SUFFIX) and self.is_aws)

    def bucket(
        self, bucket: str, region: str | None = None, *, style: str = "path"
    ) -> BucketAddress:
        """Return where the objects of a bucket, or of the ARN of an access point, are."""
        addressing: Any = {"addressing_style": style}
        try:
            client: Any = self._session.create_client(
                "s3",
                region_name=region or self.region,
                endpoint_url=self._endpoint,
                aws_access_key_id="unused",
                aws_secret_access_key="unused",  # noqa: S106
                config=Config(signature_version="s3v4", s3=addressing),
            )
            link = client.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "k"})
        except (BotoCoreError, ValueError) as error:
            raise StorageError(f"The endpoint of S3 cannot be determined: {error}") from error
        parts = urlsplit(link)
        scope = parse_qs(parts.query)["X-Amz-Credential"][0].split("/")
        return BucketAddress(
            f"{parts.scheme}://{parts.netloc}", parts.path.removesuffix("k"), scope[2]
        )


def proxy_of(url: str) -> str | None:
    """Return the proxy for a URL from HTTP_PROXY, HTTPS_PROXY and NO_PROXY."""
    proxy: str | None = get_environ_proxies(url).get(urlsplit(url).scheme)
    if not proxy:
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    if urlsplit(proxy).scheme != "http":
        raise StorageError(
            "The proxy in HTTP_PROXY or HTTPS_PROXY must be an http:// URL; connections to the "
            "object storage are tunneled through it with TLS"
        )
    return proxy
