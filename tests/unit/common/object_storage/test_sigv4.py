"""Signatures, compared with those of botocore."""

from __future__ import annotations

from datetime import UTC, datetime
from unittest import mock
from urllib.parse import quote

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials
from hypothesis import given, settings
from hypothesis import strategies as st

from common.object_storage import CredentialsError
from common.object_storage.credentials import Credentials
from common.object_storage.sigv4 import UNSIGNED, Signer

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
text = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=20)


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(["GET", "PUT", "POST", "DELETE", "HEAD"]),
    text,
    st.dictionaries(st.sampled_from(["uploads", "partNumber", "uploadId", "prefix"]), text),
    st.booleans(),
)
def test_every_request_is_signed_as_botocore_signs_it(
    method: str, key: str, query: dict[str, str], temporary: bool
) -> None:
    token = "session/token+==" if temporary else None
    path = quote(f"/bucket/{key}", "/-_.~")
    query_string = "&".join(
        f"{quote(n, '-_.~')}={quote(v, '-_.~')}" for n, v in sorted(query.items())
    )
    headers = {"host": "s3.example:8333", "x-amz-meta-plan": "abc", "content-type": "text/plain"}
    signer = Signer(lambda: Credentials("AKID", "secret", token), "eu-west-1")

    ours = signer.sign(method, path, query_string, headers, now=NOW.timestamp())

    request = AWSRequest(
        method=method,
        url=f"http://s3.example:8333{path}?{query_string}",
        headers={**headers, "X-Amz-Content-SHA256": UNSIGNED},
    )
    request.context["client_config"] = mock.Mock(s3={"payload_signing_enabled": False})
    with mock.patch("botocore.auth.get_current_datetime", return_value=NOW.replace(tzinfo=None)):
        S3SigV4Auth(BotoCredentials("AKID", "secret", token), "s3", "eu-west-1").add_auth(request)
    assert ours["authorization"] == request.headers["Authorization"]
    assert ours.get("x-amz-security-token") == token


def test_signing_without_credentials_fails() -> None:
    with pytest.raises(CredentialsError):
        Signer(lambda: None, "r").sign("GET", "/", "", {"host": "h"})
