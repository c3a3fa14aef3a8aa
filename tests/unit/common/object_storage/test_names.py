"""Names in any script, keys with any character, and listings of many pages.

Rules: RFC 9112, 2.2 (lines end with CRLF); RFC 9110, 7.2 (Host); "ListObjectsV2" and
"ListMultipartUploads" in the Amazon S3 API reference (EncodingType, markers).
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from common.object_storage import ObjectStorage
from common.object_storage.content_disposition import object_name
from common.object_storage.sigv4 import host_header
from tests.support.scripted_server import ScriptedServer, response

NAMES = ["хлеб.txt", "محمد.txt", "全部.txt", "Łąka.txt", "ürün\u0085x.txt", "naïve.txt", "ελλ.txt"]
KEYS = ["a#b", "a?b", "a%b", "a%2Fb", "a+b", "a b", "a&b=c", "ä/空", "a'\"<>", "~!@$^*(){}[]"]


def head_with(value: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nx-amz-meta-filename: " + value + b"\r\n\r\n"


@pytest.mark.parametrize("name", NAMES)
def test_names_in_raw_utf8_headers_are_read_completely(
    server: ScriptedServer, storage: ObjectStorage, name: str
) -> None:
    server.responses = [head_with(name.encode())]
    assert object_name(storage.head_object("b", "k")) == name


def test_other_headers_survive_a_line_separator_inside_a_value(
    server: ScriptedServer, storage: ObjectStorage
) -> None:
    server.responses = [head_with("a\u2028b\u0085ETag: x".encode()).replace(
        b"Content-Length: 1", b'Content-Length: 7\r\nETag: "right"'
    )]  # fmt: skip
    info = storage.head_object("b", "k")
    assert (info.size, info.etag) == (7, '"right"')


@pytest.mark.parametrize("key", KEYS)
def test_keys_are_encoded_in_paths_copies_and_links(
    server: ScriptedServer, storage: ObjectStorage, key: str
) -> None:
    server.responses = [response(b"<CopyPartResult><ETag>e</ETag></CopyPartResult>")]
    storage.upload_part_copy(
        "b", key, "u", 1, source=("s", key), start=0, length=1, if_match=None
    )  # fmt: skip
    request = server.requests[0].decode()
    assert request.startswith(f"PUT /b/{quote(key, '/~')}?")
    assert f"x-amz-copy-source: s/{quote(key, '/~')}\r\n" in request
    link = storage.presign_get("b", key, filename="f", content_type="t/t", expires_in=9)
    assert urlsplit(link).path == f"/b/{quote(key, '/~')}"


def page(keys: list[str], *, encoding: str | None, space: str = "+", more: str = "") -> bytes:
    def encoded(key: str) -> str:
        return quote(key, safe="").replace("%20", space) if encoding else key

    kind = f"<EncodingType>{encoding}</EncodingType>" if encoding else ""
    rows = "".join(f"<Contents><Key>{encoded(k)}</Key><Size>1</Size></Contents>" for k in keys)
    return response(f"<ListBucketResult>{kind}{more}{rows}</ListBucketResult>".encode())


@pytest.mark.parametrize("space", ["+", "%20"])
def test_keys_in_listings_are_decoded(
    server: ScriptedServer, storage: ObjectStorage, space: str
) -> None:
    keys = [*KEYS, "tab\there", "ctl\x01"]
    server.responses = [page(keys, encoding="url", space=space)]
    assert [listed.key for listed in storage.list_objects_v2("b")] == keys
    assert b"encoding-type=url" in server.requests[0]


def test_keys_of_a_server_without_encoding_are_not_decoded(
    server: ScriptedServer, storage: ObjectStorage
) -> None:
    server.responses = [page(["a+b", "a%20b"], encoding=None)]
    assert [listed.key for listed in storage.list_objects_v2("b")] == ["a+b", "a%20b"]


def test_a_repeated_page_of_objects_is_left_out(
    server: ScriptedServer, storage: ObjectStorage
) -> None:
    server.responses = [page(["a", "b", "c"], encoding=None)]
    listed = storage.list_objects_v2("b", start_after="b")
    assert [entry.key for entry in listed] == ["c"]


def test_a_page_of_objects_says_whether_others_follow(
    server: ScriptedServer, storage: ObjectStorage
) -> None:
    """A page may have fewer objects than max-keys ("ListObjectsV2" in the S3 API reference)."""
    truncated = "<IsTruncated>true</IsTruncated>"
    server.responses = [
        page(["a", "b"], encoding=None, more=truncated), page(["a", "b"], encoding=None),
        page(["a", "b"], encoding=None, more=truncated),
    ]  # fmt: skip
    assert storage.list_objects_v2("b").is_truncated
    assert not storage.list_objects_v2("b").is_truncated
    # The server ignores where the page should start, and would send this one forever.
    assert not storage.list_objects_v2("b", start_after="b").is_truncated


def uploads_page(keys: list[str], *, following: str | None) -> bytes:
    rows = "".join(f"<Upload><Key>{k}</Key><UploadId>id-{k}</UploadId></Upload>" for k in keys)
    more = (
        f"<IsTruncated>true</IsTruncated><NextKeyMarker>{following}</NextKeyMarker>"
        f"<NextUploadIdMarker>id-{following}</NextUploadIdMarker>"
        if following
        else "<IsTruncated>false</IsTruncated>"
    )
    body = f"<R><EncodingType>url</EncodingType>{rows}{more}</R>"
    return response(body.encode())


def test_all_pages_of_uploads_are_read(server: ScriptedServer, storage: ObjectStorage) -> None:
    server.responses = [
        uploads_page(["a", "b"], following="b%2B"), uploads_page(["c"], following=None),
    ]  # fmt: skip
    assert [upload.key for upload in storage.list_multipart_uploads("b", "")] == ["a", "b", "c"]
    assert b"key-marker=b%2B&" in server.requests[1]
    assert b"upload-id-marker=id-b%252B" in server.requests[1]


def test_uploads_of_others_are_left_out(server: ScriptedServer, storage: ObjectStorage) -> None:
    """A server that ignores the prefix would have them aborted."""
    server.responses = [uploads_page(["jobs/1", "other"], following=None)]
    assert [each.key for each in storage.list_multipart_uploads("b", "jobs/")] == ["jobs/1"]


def test_a_repeated_page_of_uploads_ends_the_listing(
    server: ScriptedServer, storage: ObjectStorage
) -> None:
    server.responses = [uploads_page(["a", "b"], following="b")] * 5
    assert len(storage.list_multipart_uploads("b", "")) == 2
    assert len(server.requests) == 2


@pytest.mark.parametrize(("url", "host"), [
    ("https://Files.Example:443", "files.example"), ("http://files.example:80", "files.example"),
    ("https://files.example:80", "files.example:80"), ("http://[::1]:8333/x", "[::1]:8333"),
    ("https://u:p@files.example", "files.example"),
])  # fmt: skip
def test_the_host_is_the_one_that_clients_send(url: str, host: str) -> None:
    assert host_header(url) == host


@pytest.mark.parametrize("public", ["https://files.example:443", "https://FILES.example"])
def test_links_have_the_host_that_browsers_send(public: str) -> None:
    keys: dict[str, Any] = {"access_key": "a", "secret_key": "b"}
    options: dict[str, Any] = {"filename": "f", "content_type": "t/t", "expires_in": 9}
    links = [
        ObjectStorage(
            endpoint="http://s3:1", region="r", public_endpoint=url, **keys
        ).presign_get("b", "k", **options)
        for url in (public, "https://files.example")
    ]  # fmt: skip
    assert links[0].partition("&X-Amz-Date")[0] == links[1].partition("&X-Amz-Date")[0]
    assert urlsplit(links[0]).netloc == "files.example"
