"""Presigned links, compared with those of boto3."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from unittest import mock
from urllib.parse import parse_qsl, urlsplit

import boto3
import pytest
from botocore.config import Config
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.errors import StorageError
from common.object_storage import ObjectStorage
from common.object_storage.content_disposition import attachment

NOW = 1_772_600_767
WHEN = datetime.fromtimestamp(NOW, UTC).replace(tzinfo=None)
text = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1)
keys = text.filter(lambda key: "//" not in key and key[0] != "/" and "." not in key.split("/"))

ENDPOINTS: list[dict[str, Any]] = [
    {"endpoint": "http://127.0.0.1:8333", "region": "us-east-1"},
    {
        "endpoint": "http://s3:8333",
        "region": "eu-west-1",
        "public_endpoint": "https://files.example",
    },
    {"endpoint": None, "region": "eu-central-1"},
    {"endpoint": None, "region": "us-east-1", "session_token": "session/token+=="},
]


def boto3_link(endpoint: dict[str, Any], bucket: str, key: str, filename: str, seconds: int) -> str:
    url = endpoint["endpoint"]
    # The global host of "auto" redirects to the region of a new bucket; links cannot follow.
    style: Any = "path" if url or "." in bucket else "virtual"
    client = boto3.client(
        "s3",
        endpoint_url=endpoint.get("public_endpoint") or url,
        region_name=endpoint["region"],
        aws_access_key_id="AKID",
        aws_secret_access_key="secret",
        aws_session_token=endpoint.get("session_token"),
        config=Config(signature_version="s3v4", s3={"addressing_style": style}),
    )
    with mock.patch("botocore.auth.get_current_datetime", return_value=WHEN):
        link: str = client.generate_presigned_url(
            "get_object",
            Params={
                "Bucket": bucket,
                "Key": key,
                "ResponseContentDisposition": attachment(filename),
                "ResponseContentType": "application/zip",
            },
            ExpiresIn=seconds,
        )
    return link


def parts(link: str) -> tuple[str, str, str, list[tuple[str, str]]]:
    """Return the parts of a link, with the parameters sorted: their order is not signed."""
    split = urlsplit(link)
    return split.scheme, split.netloc, split.path, sorted(parse_qsl(split.query, True, True))


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("bucket", ["archives", "with.dots"])
def test_links_equal_those_of_boto3(endpoint: dict[str, Any], bucket: str) -> None:
    storage = ObjectStorage(access_key="AKID", secret_key="secret", **endpoint)

    @settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(key=keys, filename=text, seconds=st.integers(1, 604_800))
    def each(key: str, filename: str, seconds: int) -> None:
        with mock.patch("time.time", return_value=NOW):
            ours = storage.presign_get(
                bucket, key,
                filename=filename, content_type="application/zip", expires_in=seconds,
            )  # fmt: skip
        assert parts(ours) == parts(boto3_link(endpoint, bucket, key, filename, seconds))

    each()


def test_without_credentials_no_link_is_signed(monkeypatch: pytest.MonkeyPatch) -> None:
    storage = ObjectStorage(
        endpoint="http://127.0.0.1:1", region="r", access_key="a", secret_key="b"
    )
    storage._link_base("archives")
    monkeypatch.setattr(storage, "_provider", lambda: None)
    with pytest.raises(StorageError):
        storage.presign_get("archives", "k", filename="n", content_type="t/t", expires_in=9)


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize(("method", "operation"), [("GET", "get_object"), ("HEAD", "head_object")])
def test_links_for_a_proxy_are_signed_for_its_method_and_one_host(
    endpoint: dict[str, Any], method: str, operation: str
) -> None:
    storage = ObjectStorage(access_key="AKID", secret_key="secret", **endpoint)
    client = boto3.client(
        "s3",
        endpoint_url=endpoint.get("public_endpoint") or endpoint["endpoint"],
        region_name=endpoint["region"],
        aws_access_key_id="AKID",
        aws_secret_access_key="secret",
        aws_session_token=endpoint.get("session_token"),
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )
    hosts = set()
    for bucket in ("archives", "with.dots", "files"):
        with mock.patch("time.time", return_value=NOW):
            ours = storage.presign_for_proxy(
                method, bucket, "a b/ü+%.zip",
                filename="n", content_type="application/zip", expires_in=600,
            )  # fmt: skip
        with mock.patch("botocore.auth.get_current_datetime", return_value=WHEN):
            theirs = client.generate_presigned_url(
                operation,
                Params={
                    "Bucket": bucket,
                    "Key": "a b/ü+%.zip",
                    "ResponseContentDisposition": attachment("n"),
                    "ResponseContentType": "application/zip",
                },
                ExpiresIn=600,
            )
        assert parts(ours) == parts(theirs)
        hosts.add(urlsplit(ours).netloc)
    assert len(hosts) == 1


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ("https://files.example.com", "https://files.example.com/archives/a.zip"),
        ("https://FILES.example.com:443/", "https://files.example.com/archives/a.zip"),
        ("https://example.com:8443/s3", "https://example.com:8443/s3/archives/a.zip"),
    ],
)
def test_links_lead_to_a_domain_of_the_operator(endpoint: str, expected: str) -> None:
    storage = ObjectStorage(
        endpoint="http://s3:8333", public_endpoint=endpoint,
        region="us-east-1", access_key="AKID", secret_key="secret",
    )  # fmt: skip
    link = storage.presign_get(
        "archives", "a.zip", filename="n", content_type="application/zip", expires_in=9
    )
    assert link.partition("?")[0] == expected
