"""Credentials: found, refreshed, rejected, and never confused with a missing file.

Rules: "Error responses" in the Amazon S3 API reference; HEAD responses have no body and so no error
code (RFC 9110, 9.3.2); a presigned URL ends with its session ("Sharing objects with presigned URLs"
in the Amazon S3 user guide).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from datetime import UTC, datetime
from typing import Any
from unittest import mock
from urllib.parse import parse_qs, urlsplit

import pytest
from botocore.credentials import Credentials as BotoCredentials
from botocore.credentials import RefreshableCredentials
from botocore.exceptions import ClientError, MetadataRetrievalError

from common.errors import DownloadError, FileNotFound, SourceForbidden
from common.object_storage import CredentialsError, NoSuchKey, ObjectStorage
from common.object_storage.credentials import CredentialChain, Credentials
from common.object_storage.errors import BucketForbidden
from common.object_storage.sigv4 import Signer
from common.object_storage.transport import Transport
from common.sources import Missing, SourceFile
from common.sources.s3 import S3Source
from common.task_group import TaskGroup
from tests.support.archives import RecordingControl
from tests.support.scripted_server import ScriptedServer, error, response

FORBIDDEN = response(status=403)
NO_KEY = response(status=404)


@pytest.mark.parametrize(("code", "expected"), [
    ("InvalidAccessKeyId", CredentialsError), ("SignatureDoesNotMatch", CredentialsError),
    ("ExpiredToken", CredentialsError), ("InvalidToken", CredentialsError),
    ("RequestTimeTooSkewed", CredentialsError), ("AccessDenied", SourceForbidden),
    ("InvalidObjectState", SourceForbidden), ("", SourceForbidden),
])  # fmt: skip
def test_403_responses_are_distinguished_by_their_code_also_for_head(
    server: ScriptedServer, storage: ObjectStorage, code: str, expected: type[DownloadError]
) -> None:
    server.responses = [FORBIDDEN, error(403, code)]
    with pytest.raises(expected) as raised:
        storage.head_object("b", "k")
    assert raised.value.retryable == (expected is CredentialsError)
    server.responses = [error(403, code)]
    with pytest.raises(expected):
        storage.read_into("b", "k", memoryview(bytearray(1)))


def test_an_archived_file_has_its_own_message(
    server: ScriptedServer, storage: ObjectStorage
) -> None:
    server.responses = [error(403, "InvalidObjectState")]
    with pytest.raises(SourceForbidden, match="Glacier"):
        storage.read_into("b", "k", memoryview(bytearray(1)))


def test_an_expired_token_with_status_400_is_recognized_in_head(
    server: ScriptedServer, storage: ObjectStorage
) -> None:
    server.responses = [response(status=400), error(400, "ExpiredToken")]
    with pytest.raises(CredentialsError):
        storage.head_object("b", "k")


def test_a_missing_object_costs_one_request(server: ScriptedServer, storage: ObjectStorage) -> None:
    server.responses = [NO_KEY]
    with pytest.raises(NoSuchKey):
        storage.head_object("b", "k")
    assert len(server.requests) == 1


def test_a_credential_problem_never_makes_a_file_missing(
    server: ScriptedServer, storage: ObjectStorage
) -> None:
    source = S3Source(storage, bucket="b", key_template="{file_id}")
    server.responses = [FORBIDDEN, error(403, "ExpiredToken")]
    with pytest.raises(CredentialsError):
        source.describe([1], TaskGroup(RecordingControl()), cached={})
    server.responses = [FORBIDDEN, error(403, "AccessDenied")]
    (described,) = source.describe([1], TaskGroup(RecordingControl()), cached={})
    assert isinstance(described, Missing)
    assert described.code == SourceForbidden.code
    server.responses = [NO_KEY]
    (described,) = source.describe([1], TaskGroup(RecordingControl()), cached={})
    assert not isinstance(described, SourceFile)
    assert described.code == FileNotFound.code


def test_no_request_is_sent_without_credentials(server: ScriptedServer) -> None:
    with mock.patch("botocore.session.Session.get_credentials", return_value=None):
        storage = ObjectStorage(endpoint=server.url, region="r")
        with pytest.raises(CredentialsError, match="AWS_ACCESS_KEY_ID"):
            storage.put_object("b", "k", b"x")
    assert server.requests == []
    storage.close()


def test_credentials_that_appear_later_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("common.object_storage.credentials.SEARCH_INTERVAL", 60.0)
    results = iter([None, BotoCredentials("a", "b", "t")])
    chain = CredentialChain(lambda: next(results))
    with pytest.raises(CredentialsError):
        chain()
    with pytest.raises(CredentialsError):
        chain()  # Not searched again yet: the iterator has a result left.
    chain._search_at = 0.0
    assert chain() == Credentials("a", "b", "t")


def test_rejected_credentials_are_searched_again(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("common.object_storage.credentials.SEARCH_INTERVAL", 0.0)
    found = iter([BotoCredentials("old", "b"), BotoCredentials("new", "b")])
    transport = Transport(server.url, "r", CredentialChain(lambda: next(found)))
    server.responses = [error(403, "InvalidAccessKeyId"), response()]
    with pytest.raises(CredentialsError):
        transport.call("PUT", "b", "k")
    transport.call("PUT", "b", "k")
    keys = [request.split(b"Credential=")[1].split(b"/")[0] for request in server.requests]
    assert keys == [b"old", b"new"]
    transport.close()


def session(seconds: float) -> RefreshableCredentials:
    def refresh() -> dict[str, Any]:
        expiry = datetime.fromtimestamp(time.time() + seconds, UTC).isoformat()
        return {"access_key": "a", "secret_key": "b", "token": "t", "expiry_time": expiry}

    return RefreshableCredentials.create_from_metadata(refresh(), refresh, "test")


def test_expired_credentials_are_refreshed() -> None:
    credentials: Any = session(-10)
    renewed: Any = session(3600)
    with mock.patch.object(credentials, "_refresh_using", side_effect=renewed._refresh_using):
        expires_at = CredentialChain(lambda: credentials)().expires_at
    assert expires_at is not None
    assert expires_at > time.time()


@pytest.mark.parametrize(
    "error",
    [
        MetadataRetrievalError(error_msg="down"),
        # Of STS; of a token file; of credentials that are expired already.
        ClientError({"Error": {"Code": "AccessDenied"}}, "AssumeRoleWithWebIdentity"),
        FileNotFoundError(2, "No such file", "/var/run/token"),
        RuntimeError("Credentials were refreshed, but the refreshed credentials are still expired"),
    ],
)
def test_a_failed_refresh_is_a_credential_problem(error: Exception) -> None:
    failing = mock.Mock()
    failing.get_frozen_credentials.side_effect = error
    with pytest.raises(CredentialsError, match="refreshed"):
        CredentialChain(lambda: failing)()


def test_a_link_never_outlives_its_session() -> None:
    now = time.time()
    signer = Signer(lambda: Credentials("a", "b", "t", now + 600), "r")
    link = signer.presign("https://h", "/b/k", {}, expires_in=3600, now=now)
    assert parse_qs(urlsplit(link).query)["X-Amz-Expires"] == ["600"]
    link = signer.presign("https://h", "/b/k", {}, expires_in=60, now=now)
    assert parse_qs(urlsplit(link).query)["X-Amz-Expires"] == ["60"]


@pytest.mark.parametrize("seconds", [None, 600.0])
def test_the_end_of_the_session_is_reported(seconds: float | None) -> None:
    storage = ObjectStorage(endpoint="http://127.0.0.1:1", region="r", access_key="a")
    expires_at = None if seconds is None else time.time() + seconds
    storage._provider = lambda: Credentials("a", "b", "t", expires_at)
    assert storage.links_expire_at() == (None if expires_at is None else int(expires_at * 1000))


@pytest.mark.parametrize(("read", "expected"), [
    (response(b"x", status=206, Content_Range="bytes 0-0/9"), BucketForbidden),
    (error(403, "AccessDenied"), SourceForbidden),
    (error(403, "InvalidObjectState"), SourceForbidden),
    (error(404, "NoSuchKey"), NoSuchKey),
])  # fmt: skip
def test_a_denied_copy_is_about_the_file_only_if_the_file_cannot_be_read(
    server: ScriptedServer, storage: ObjectStorage, read: bytes, expected: type[DownloadError]
) -> None:
    """UploadPartCopy needs s3:GetObject for its source and s3:PutObject for the archive."""
    server.responses = [error(403, "AccessDenied"), read]
    with pytest.raises(expected) as raised:
        storage.upload_part_copy(
            "archives", "k", "u", 1, source=("files", "1"), start=0, length=5, if_match=None
        )
    assert type(raised.value) is expected
    assert server.requests[1].startswith(b"GET /files/1 ")


def test_a_denied_write_is_never_a_denied_file(
    server: ScriptedServer, storage: ObjectStorage
) -> None:
    denied = error(403, "AccessDenied")
    calls: list[Callable[[], object]] = [
        lambda: storage.put_object("b", "k", b"x"),
        lambda: storage.create_multipart_upload("b", "k"),
        lambda: storage.upload_part("b", "k", "u", 1, b"x", crc32=0),
        lambda: storage.complete_multipart_upload("b", "k", "u", []),
        lambda: storage.abort_multipart_upload("b", "k", "u"),
        lambda: storage.delete_objects("b", ["k"]),
    ]
    for call in calls:
        server.responses = [denied]
        with pytest.raises(BucketForbidden) as raised:
            call()
        assert raised.value.code == "STORAGE_ERROR"


def test_a_file_that_is_denied_while_a_part_is_uploaded_is_a_denied_file(
    server: ScriptedServer, storage: ObjectStorage
) -> None:
    class Stream:
        crc32 = 0

        def __len__(self) -> int:
            return 5

        def __iter__(self) -> Generator[memoryview]:
            raise SourceForbidden

    server.responses = [response(ETag='"e"')]
    with pytest.raises(SourceForbidden):
        storage.upload_part_stream("b", "k", "u", 1, Stream())
