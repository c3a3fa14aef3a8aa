"""Responses that real S3 servers send: errors with status 200, missing or unquoted ETags.

Rules: "CompleteMultipartUpload" and "UploadPartCopy" in the Amazon S3 API reference (a response may
start with 200 and blanks and contain an error); RFC 9110, 8.8.3 (ETag) and 13.1.1 (If-Match).
"""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Any

import pytest

from common.errors import FileChanged, StorageError
from common.object_storage import BLOCK_SIZE, ObjectStorage, UploadedPart
from common.object_storage.s3_xml import is_error, quoted_etag
from tests.support.scripted_server import ScriptedServer, response

PART = UploadedPart(number=1, etag='"p"', crc32=None)
COPY: dict[str, Any] = {"source": ("b", "s"), "start": 0, "length": 5, "if_match": None}


@pytest.mark.parametrize("prefix", [
    b"", b"\n", b" " * 5000, b'<?xml version="1.0" encoding="UTF-8"?>\n',
    b" " * 300 + b'<?xml version="1.0"?>', b'<?xml version="1.0"?>' + b"\n" * 900,
    b"\xef\xbb\xbf", b"<!-- a -->\n",
])  # fmt: skip
@pytest.mark.parametrize("root", [
    b"<Error>", b'<Error xmlns="http://s3.amazonaws.com/doc/2006-03-01/">', b"<Error\n>",
    b"<s3:Error>",
])  # fmt: skip
def test_an_error_is_recognized_by_its_root_element(prefix: bytes, root: bytes) -> None:
    assert is_error(prefix + root + b"<Code>InternalError</Code></Error>")


@pytest.mark.parametrize("body", [
    b"", b"   ", b"ok", b"<ErrorDocument><Key>e</Key></ErrorDocument>",
    b"<ListBucketResult><Contents><Key>&lt;Error></Key></Contents></ListBucketResult>",
    b"<DeleteResult><Error><Code>AccessDenied</Code></Error></DeleteResult>",
])  # fmt: skip
def test_other_documents_are_not_errors(body: bytes) -> None:
    assert not is_error(body)


def test_an_error_after_many_blanks_is_raised(
    server: ScriptedServer, storage: ObjectStorage
) -> None:
    error = b" " * 4000 + b"<?xml version='1.0'?>\n<Error><Code>InvalidRequest</Code></Error>"
    server.responses = [response(error)]
    with pytest.raises(StorageError, match="InvalidRequest"):
        storage.complete_multipart_upload("b", "k", "u", [PART])
    server.responses = [response(error)]
    with pytest.raises(StorageError, match="InvalidRequest"):
        storage.upload_part_copy("b", "k", "u", 1, **COPY)


def test_a_result_after_blanks_is_read(server: ScriptedServer, storage: ObjectStorage) -> None:
    result = b"<CompleteMultipartUploadResult><ETag>&quot;e-1&quot;</ETag>"
    server.responses = [
        response(b"\n  " + b"<?xml version='1.0'?>" + result + b"</CompleteMultipartUploadResult>")
    ]
    assert storage.complete_multipart_upload("b", "k", "u", [PART]) == '"e-1"'


EMPTY_ETAG = b"<CompleteMultipartUploadResult><ETag></ETag></CompleteMultipartUploadResult>"


def test_a_completion_without_etag_is_confirmed(
    server: ScriptedServer, storage: ObjectStorage
) -> None:
    server.responses = [response(EMPTY_ETAG), response(content_length="5", ETag='"e-1"')]
    assert storage.complete_multipart_upload("b", "k", "u", [PART], size=5) == '"e-1"'
    assert server.requests[1].startswith(b"HEAD /b/k ")


@pytest.mark.parametrize("head", [
    response(status=404), response(content_length="4", ETag='"e-1"'), response(content_length="5"),
])  # fmt: skip
def test_a_completion_that_cannot_be_confirmed_fails(
    server: ScriptedServer, storage: ObjectStorage, head: bytes
) -> None:
    server.responses = [response(EMPTY_ETAG), head]
    with pytest.raises(StorageError):
        storage.complete_multipart_upload("b", "k", "u", [PART], size=5)


@pytest.mark.parametrize(("sent", "etag"), [
    ('"a"', '"a"'), ("a", '"a"'), (' "a" ', '"a"'), ('W/"a"', 'W/"a"'), ("", ""), (None, ""),
])  # fmt: skip
def test_etags_are_quoted(sent: str | None, etag: str) -> None:
    assert quoted_etag(sent) == etag


def test_a_copied_part_has_a_quoted_etag(server: ScriptedServer, storage: ObjectStorage) -> None:
    server.responses = [response(b"<CopyPartResult><ETag>abc</ETag></CopyPartResult>")]
    assert storage.upload_part_copy("b", "k", "u", 1, **COPY).etag == '"abc"'


@pytest.mark.parametrize("body", [b"", b"<CopyPartResult></CopyPartResult>"])
def test_a_copy_without_etag_fails(
    server: ScriptedServer, storage: ObjectStorage, body: bytes
) -> None:
    server.responses = [response(body)]
    with pytest.raises(StorageError):
        storage.upload_part_copy("b", "k", "u", 1, **COPY)


def test_an_uploaded_part_without_etag_fails(
    server: ScriptedServer, storage: ObjectStorage
) -> None:
    server.responses = [response()]
    with pytest.raises(StorageError):
        storage.upload_part("b", "k", "u", 1, b"x", crc32=0)


def test_a_read_fails_if_the_server_ignores_if_match(
    server: ScriptedServer, storage: ObjectStorage
) -> None:
    server.responses = [response(b"other", ETag='"new"')]
    with pytest.raises(FileChanged):
        storage.read_into("b", "k", memoryview(bytearray(5)), if_match='"old"')


@pytest.mark.parametrize("answer", [
    response(b"345", status=206, Content_Range="bytes 3-5/9"),
    # A server may ignore Range (RFC 9110, 14.2).
    response(b"012345678"),
    # rclone sends the range with the status 200.
    response(b"345", Content_Range="bytes 3-5/9"),
], ids=["206", "whole object", "range with 200"])  # fmt: skip
def test_a_range_is_read_from_any_valid_response(
    server: ScriptedServer, storage: ObjectStorage, answer: bytes
) -> None:
    server.responses = [answer]
    view = memoryview(bytearray(3))
    storage.read_into("b", "k", view, start=3)
    assert bytes(view) == b"345"


def test_a_range_is_read_in_blocks_and_continued_where_the_connection_broke(
    server: ScriptedServer, storage: ObjectStorage
) -> None:
    data = random.Random(8).randbytes(3 * BLOCK_SIZE + 5)
    total, broken_at = len(data) + 10, 2 * BLOCK_SIZE + 7
    whole = response(
        data, status=206, Content_Range=f"bytes 10-{total - 1}/{total}", Connection="close"
    )
    rest = f"bytes {10 + broken_at}-{total - 1}/{total}"
    server.responses = [
        whole[: broken_at - len(data)], response(data[broken_at:], status=206, Content_Range=rest),
    ]  # fmt: skip
    blocks: list[bytes] = []
    storage.read_blocks(
        "b", "k", lambda block: blocks.append(bytes(block)), start=10, length=len(data)
    )
    assert b"".join(blocks) == data
    assert max(map(len, blocks)) <= BLOCK_SIZE
    assert len(server.requests) == 2


@pytest.mark.parametrize("content_range", ["bytes 0-2/9", "bytes 30-32/99", "3-5/9", ""])
def test_another_range_than_requested_is_an_error(
    server: ScriptedServer, storage: ObjectStorage, content_range: str
) -> None:
    server.responses = [response(b"xyz", status=206, Content_Range=content_range)]
    with pytest.raises(StorageError, match="range"):
        storage.read_into("b", "k", memoryview(bytearray(3)), start=3)


def test_an_error_of_delete_objects_is_raised(
    server: ScriptedServer, storage: ObjectStorage
) -> None:
    result = b"<DeleteResult><Error><Key>a</Key><Code>AccessDenied</Code></Error></DeleteResult>"
    server.responses = [response(result)]
    with pytest.raises(StorageError, match="AccessDenied"):
        storage.delete_objects("b", ["a"])
    server.responses = [response(result.replace(b"AccessDenied", b"NoSuchKey"))]
    storage.delete_objects("b", ["a"])


def test_head_works_with_a_server_that_rejects_the_header_for_checksums(
    server: ScriptedServer, storage: ObjectStorage
) -> None:
    head = response(content_length="5", ETag='"e"')
    server.responses = [response(status=400), response(b"x", status=206), head]
    assert storage.head_object("b", "k").size == 5
    server.responses = [head]
    storage.head_object("b", "k")
    sent = [b"x-amz-checksum-mode" in request for request in server.requests]
    assert sent == [True, False, False, False]


@pytest.mark.parametrize("length", [None, "", "x", "-1", "1.5", "+1"])
def test_an_object_whose_size_is_not_named_is_not_taken_for_an_empty_one(
    server: ScriptedServer, storage: ObjectStorage, length: str | None
) -> None:
    """RFC 9110, 8.6: a server may leave out Content-Length in the response to HEAD."""
    headers = b"" if length is None else b"Content-Length: %s\r\n" % length.encode()
    head = b'HTTP/1.1 200 OK\r\nETag: "e"\r\n%s\r\n' % headers
    server.responses = [head, response(b"x", status=206, ETag='"e"', Content_Range="bytes 0-0/9")]
    server.responses += [head]
    with pytest.raises(StorageError, match="how large"):
        storage.head_object("b", "k")


@pytest.mark.parametrize("date", [
    "0", "", "yesterday", "2026-11-28T10:00:00Z", "Fri, 31 Dec 114322 00:00:00 GMT",
])  # fmt: skip
def test_dates_that_are_none_are_ignored(
    server: ScriptedServer, storage: ObjectStorage, date: str
) -> None:
    expiration = f'expiry-date="{date}", rule-id="r"'
    server.responses = [
        response(ETag='"e"', Last_Modified=date, X_Amz_Expiration=expiration),
        response(
            b"<ListBucketResult><Contents><Key>k</Key><Size>1</Size><LastModified>"
            + date.replace("2026-11-28T10:00:00Z", "28.11.2026").encode()
            + b"</LastModified></Contents></ListBucketResult>"
        ),
    ]
    info = storage.head_object("b", "k")
    assert (info.modified, info.expires_at) == (None, None)
    (listed,) = storage.list_objects_v2("b")
    assert listed.modified is None


def test_dates_without_a_zone_are_utc(server: ScriptedServer, storage: ObjectStorage) -> None:
    server.responses = [
        response(
            X_Amz_Expiration='expiry-date="Fri, 21 Dec 2012 10:00:00", rule-id="r"',
            Last_Modified="Fri, 21 Dec 2012 10:00:00 -0000",
        ),
        response(
            b"<ListBucketResult><Contents><Key>k</Key><Size>1</Size>"
            b"<LastModified>2012-12-21T10:00:00.123</LastModified></Contents></ListBucketResult>"
        ),
    ]
    expected = datetime(2012, 12, 21, 10, tzinfo=UTC)
    info = storage.head_object("b", "k")
    assert (info.modified, info.expires_at) == (expected, expected)
    assert storage.list_objects_v2("b")[0].modified == expected
