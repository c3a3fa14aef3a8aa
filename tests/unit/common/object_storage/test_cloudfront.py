"""Links signed for CloudFront: verified as CloudFront does, with the public key."""

from __future__ import annotations

import base64
import json
import time
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import fakeredis
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from common.bootstrap import assemble
from common.object_storage.content_disposition import attachment
from common.settings import SettingError, Settings

DOMAIN = "d111111abcdef8.cloudfront.net"
KEY_PAIR_ID = "K2JCJMDEHXQW5F"


class Storage:
    """Signs by itself what is not in the archive bucket."""

    def presign_get(self, bucket: str, key: str, **_: Any) -> str:
        return f"https://s3.example/{bucket}/{key}"

    def links_expire_at(self) -> int:
        return 1


@cache
def private_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65_537, 2_048)


def pem(key: Any = None) -> str:
    encoded: bytes = (key or private_key()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return encoded.decode()


def settings(**changes: Any) -> Settings:
    return Settings(
        **{
            "link_signer": "cloudfront",
            "cloudfront_domain": DOMAIN,
            "cloudfront_key_pair_id": KEY_PAIR_ID,
            "cloudfront_private_key": pem(),
            **changes,
        }
    )


def link(changed: Settings, *, bucket: str = "archives", key: str = "archives/a b.zip") -> str:
    storage: Any = Storage()
    services = assemble(changed, fakeredis.FakeRedis(decode_responses=True), storage)
    signed: str = services.presenter._signer.presign_get(
        bucket, key, filename="Übersicht.zip", content_type="application/zip", expires_in=600
    )
    return signed


def verify(url: str) -> None:
    """Raise ``InvalidSignature`` unless CloudFront accepts the link.

    Rules: "Code examples for creating a signature for a signed URL": the policy is signed, without
    white space, and base64 has other characters that URLs allow.
    """
    resource, _, signed = url.partition("&Expires=")
    parameters = parse_qs(f"Expires={signed}")
    policy = json.dumps(
        {
            "Statement": [
                {
                    "Resource": resource,
                    "Condition": {"DateLessThan": {"AWS:EpochTime": int(parameters["Expires"][0])}},
                }
            ]
        },
        separators=(",", ":"),
    )
    characters = parameters["Signature"][0].translate(str.maketrans("-_~", "+=/"))
    private_key().public_key().verify(
        base64.b64decode(characters),
        policy.encode(),
        padding.PKCS1v15(),
        hashes.SHA1(),  # noqa: S303
    )


def test_a_link_is_one_that_cloudfront_accepts() -> None:
    url = link(settings())
    parts, query = urlsplit(url), parse_qs(urlsplit(url).query)
    assert (parts.scheme, parts.netloc) == ("https", DOMAIN)
    assert unquote(parts.path) == "/archives/a b.zip"
    assert query["Key-Pair-Id"] == [KEY_PAIR_ID]
    assert query["response-content-disposition"] == [attachment("Übersicht.zip")]
    assert query["response-content-type"] == ["application/zip"]
    assert 590 < int(query["Expires"][0]) - time.time() <= 600
    verify(url)
    with pytest.raises(InvalidSignature):
        verify(url.replace("/archives/", "/secrets/"))


def test_files_outside_of_the_archive_bucket_are_signed_by_the_storage() -> None:
    assert link(settings(), bucket="files", key="7") == "https://s3.example/files/7"


def test_the_key_may_be_in_a_file_or_on_one_line(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_text(pem())
    in_file = settings(cloudfront_private_key="", cloudfront_private_key_file=str(path))
    on_one_line = settings(cloudfront_private_key=pem().replace("\n", "\\n"))
    for each in (in_file, on_one_line):
        verify(link(each))


def test_links_outlive_the_session_only_where_none_is_signed_with_it() -> None:
    """Files that are delivered as they are may be in other buckets."""
    storage: Any = Storage()
    redis = fakeredis.FakeRedis(decode_responses=True)
    for direct, expected in ((False, None), (True, 1)):
        services = assemble(settings(direct_single_file=direct), redis, storage)
        assert services.presenter._links_expire_at() == expected


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"link_signer": "other"}, "LINK_SIGNER must be"),
        ({"delivery": "proxy", "public_url": "x", "ticket_secret": "x"}, "requires DELIVERY"),
        ({"cloudfront_domain": ""}, "requires CLOUDFRONT_DOMAIN"),
        ({"cloudfront_domain": "https://x/"}, "CLOUDFRONT_DOMAIN or .* is invalid"),
        ({"cloudfront_key_pair_id": ""}, "requires CLOUDFRONT_KEY_PAIR_ID"),
        ({"cloudfront_private_key": ""}, "requires exactly one of CLOUDFRONT_PRIVATE_KEY"),
        ({"cloudfront_private_key_file": "/k"}, "requires exactly one of CLOUDFRONT_PRIVATE_KEY"),
        ({"cloudfront_private_key": "no key"}, "is invalid"),
        ({"cloudfront_private_key": pem(ec.generate_private_key(ec.SECP256R1()))}, "not an RSA"),
        (
            {"cloudfront_private_key": "", "cloudfront_private_key_file": "/missing"},
            "cannot be read: No such file",
        ),
    ],
)
def test_settings_that_do_not_fit_are_named(changes: dict[str, str], message: str) -> None:
    with pytest.raises(SettingError, match=message) as caught:
        link(settings(**changes))
    assert "BEGIN" not in str(caught.value)


def test_the_key_is_redacted_line_by_line() -> None:
    lines = pem().splitlines()
    for key in (pem(), pem().replace("\n", "\\n")):
        assert settings(cloudfront_private_key=key).secrets() == set(lines[1:-1])
