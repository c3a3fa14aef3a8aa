"""Endpoints, certificates, proxies and headers: the same configuration as for every AWS tool.

Rules: "Amazon S3 endpoints and quotas" in the AWS General Reference; "Service-specific endpoints"
and "Dual-stack and FIPS endpoints" in the AWS SDKs and Tools reference; RFC 9110, 9.3.6 (CONNECT).
"""

from __future__ import annotations

import io
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, cast
from urllib.parse import parse_qs, urlsplit

import botocore.session
import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.config import Config
from botocore.loaders import Loader

from common.errors import NetworkError, StorageError
from common.object_storage import Cancellation, ObjectStorage, UploadedPart
from common.object_storage.endpoints import Endpoints, proxy_of
from common.object_storage.http_pool import HttpPool
from common.object_storage.options import StorageOptions
from common.object_storage.sigv4 import host_header
from common.sources import source_from_template
from tests.support.certificates import make_certificate
from tests.support.scripted_server import OK, ScriptedServer, response

KEYS: dict[str, Any] = {"access_key": "a", "secret_key": "b"}
LOADER = Loader()
AP = "arn:aws:s3:eu-west-1:123456789012:accesspoint:reports"


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "AWS_CA_BUNDLE", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    # Every session would read the same files again.
    monkeypatch.setattr("botocore.session.create_loader", lambda _: LOADER)


@pytest.mark.parametrize(("region", "env", "url"), [
    ("eu-west-1", {}, "https://s3.eu-west-1.amazonaws.com"),
    ("us-gov-west-1", {}, "https://s3.us-gov-west-1.amazonaws.com"),
    ("cn-north-1", {}, "https://s3.cn-north-1.amazonaws.com.cn"),
    ("us-iso-east-1", {}, "https://s3.us-iso-east-1.c2s.ic.gov"),
    ("us-west-2", {"AWS_USE_FIPS_ENDPOINT": "true"}, "https://s3-fips.us-west-2.amazonaws.com"),
    ("eu-west-1", {"AWS_USE_DUALSTACK_ENDPOINT": "true"},
     "https://s3.dualstack.eu-west-1.amazonaws.com"),
    ("eu-west-1", {"AWS_ENDPOINT_URL_S3": "http://s3.example:9000"}, "http://s3.example:9000"),
    ("eu-west-1", {"AWS_ENDPOINT_URL": "http://s3.example/store"}, "http://s3.example/store"),
])  # fmt: skip
def test_data_and_links_go_to_the_endpoint_of_the_configuration(
    monkeypatch: pytest.MonkeyPatch, region: str, env: dict[str, str], url: str
) -> None:
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    storage = ObjectStorage(endpoint=None, region=region, **KEYS)
    assert storage.endpoint == url
    link = storage.presign_get("bucket", "k", filename="f", content_type="t/t", expires_in=9)
    host = url.partition("://")[2].partition("/")[0]
    assert link.partition("://")[2].partition("/")[0] in (host, f"bucket.{host}")


def test_a_region_without_the_requested_kind_of_endpoint_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_USE_FIPS_ENDPOINT", "true")
    with pytest.raises(StorageError, match="FIPS"):
        Endpoints(None, "cn-north-1").url()


def test_the_region_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Endpoints().region == "us-east-1"
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-north-1")
    assert Endpoints().region == "eu-north-1"
    assert Endpoints(None, "eu-west-3").region == "eu-west-3"


def test_an_access_point_is_addressed_by_its_arn(monkeypatch: pytest.MonkeyPatch) -> None:
    address = Endpoints(None, "us-east-1").bucket(AP)
    assert address == (
        "https://reports-123456789012.s3-accesspoint.eu-west-1.amazonaws.com", "/", "eu-west-1",
    )  # fmt: skip


class BotoClient:
    """A client of boto3 that records its requests instead of sending them."""

    def __init__(self, region: str) -> None:
        session = botocore.session.Session()
        self._client: Any = session.create_client(
            "s3", region_name=region, aws_access_key_id="a", aws_secret_access_key="b",
            config=Config(signature_version="s3v4"),
        )  # fmt: skip
        events: Any = self._client.meta.events
        events.register("before-send.s3", self._record)
        self.host = self.path = ""
        self.headers: dict[str, str] = {}

    def get_object(self, bucket: str, key: str, **options: str) -> None:
        self._client.get_object(Bucket=bucket, Key=key, **options)

    def _record(self, request: Any, **_: Any) -> Any:
        parts = urlsplit(request.url)
        self.host, self.path = parts.netloc, parts.path
        self.headers = {
            name.lower(): value if isinstance(value, str) else value.decode()
            for name, value in request.headers.items()
        }
        return AWSResponse(request.url, 200, HTTPHeaders(), io.BytesIO(b""))


class RecordingPool:
    """Replaces the connections of the client; records its requests instead of sending them."""

    requests: ClassVar[list[tuple[str, str, dict[str, str]]]] = []

    def __init__(self, url: str, **_: Any) -> None:
        self.host = host_header(url)

    @contextmanager
    def request(
        self, method: str, target: str, headers: dict[str, str], *_: Any, **__: Any
    ) -> Iterator[Any]:
        self.requests.append((self.host, target, headers))
        yield SimpleNamespace(status=200, headers={}, read_all=lambda: b"", readinto=len)

    def close(self) -> None:
        return


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, dict[str, str]]]:
    monkeypatch.setattr("common.object_storage.transport.HttpPool", RecordingPool)
    monkeypatch.setattr(RecordingPool, "requests", [])
    return RecordingPool.requests


def scope(headers: dict[str, str]) -> tuple[str, str]:
    """Return the algorithm and the region, service and version that a request is signed for."""
    algorithm, _, fields = headers["authorization"].partition(" ")
    return algorithm, fields.partition(",")[0].partition("/")[2].partition("/")[2]


DUAL_STACK, FIPS = {"AWS_USE_DUALSTACK_ENDPOINT": "true"}, {"AWS_USE_FIPS_ENDPOINT": "true"}


@pytest.mark.parametrize(("region", "bucket", "env"), [
    ("eu-west-1", AP, {}),
    ("us-east-1", AP, {}),
    ("us-east-1", AP, DUAL_STACK),
    ("us-west-2", AP.replace("eu-west-1", "us-west-2"), FIPS),
    ("us-west-2", AP.replace("eu-west-1", "us-west-2"), DUAL_STACK | FIPS),
    ("us-gov-west-1", "arn:aws-us-gov:s3:us-gov-west-1:123456789012:accesspoint:a-b", FIPS),
    ("cn-north-1", "arn:aws-cn:s3:cn-north-1:123456789012:accesspoint:reports", DUAL_STACK),
    ("eu-west-1", "reports-9xyzqsimh8ibmfwgr6iehhkprzdzbeuw1b-s3alias", {}),
    ("eu-west-1", "reports-9xyzqsimh8ibmfwgr6iehhkprzdzbeuw1b-s3alias", DUAL_STACK),
])  # fmt: skip
def test_requests_to_access_points_are_those_of_boto3(
    monkeypatch: pytest.MonkeyPatch, recorded: list[tuple[str, str, dict[str, str]]],
    region: str, bucket: str, env: dict[str, str],
) -> None:  # fmt: skip
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    boto = BotoClient(region)
    boto.get_object(bucket, "a b/ä.txt", RequestPayer="requester")
    storage = ObjectStorage(
        endpoint=None, region=region, options=StorageOptions(request_payer="requester"), **KEYS
    )
    storage.read_into(bucket, "a b/ä.txt", memoryview(bytearray(1)))
    ((host, path, headers),) = recorded
    assert (host, path) == (boto.host, boto.path)
    assert scope(headers) == scope(boto.headers)
    assert headers["x-amz-request-payer"] == boto.headers["x-amz-request-payer"] == "requester"


PARTITIONS = [
    (partition, regions[0])
    for partition in botocore.session.Session().get_available_partitions()
    if (regions := botocore.session.Session().get_available_regions("s3", partition))
]


@pytest.mark.parametrize(("partition", "region"), PARTITIONS)
def test_requests_go_to_the_server_of_boto3_in_every_partition(
    recorded: list[tuple[str, str, dict[str, str]]], partition: str, region: str
) -> None:
    boto = BotoClient(region)
    boto.get_object("a.bucket", "k")  # boto3 addresses names with dots by path, too.
    storage = ObjectStorage(endpoint=None, region=region, **KEYS)
    storage.read_into("a.bucket", "k", memoryview(bytearray(1)))
    ((host, path, headers),) = recorded
    assert (host, path, scope(headers)) == (boto.host, boto.path, scope(boto.headers))
    # Only then a bucket of another region is looked for at another server.
    assert Endpoints(None, region).is_aws, partition


@pytest.mark.parametrize(("name", "message"), [
    ("arn:aws:s3::123456789012:accesspoint:mfzwi23gnjvgw.mrap", "version 4A"),
    ("arn:aws:s3-object-lambda:eu-west-1:123456789012:accesspoint:name", "is not supported"),
    ("arn:aws:s3-outposts:eu-west-1:123456789012:outpost:op-1:accesspoint:x", "is not supported"),
    ("arn:aws:s3:eu-west-1:123456789012:accesspoint", "looks like this"),
    ("arn:aws:s3:::bucket", "looks like this"),
    ("files--use1-az4--x-s3", "directory buckets"),
])  # fmt: skip
def test_a_name_that_needs_another_signature_is_rejected_at_the_start(
    name: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        source_from_template(f"s3://{name}/{{file_id}}", storage=cast("Any", None))


@pytest.mark.parametrize("name", [AP, "bucket", "a.bucket", "alias-s3alias", "arnold"])
def test_names_of_buckets_and_access_points_are_accepted(name: str) -> None:
    source_from_template(f"s3://{name}/{{file_id}}", storage=cast("Any", None))


def test_links_to_objects_of_access_points_are_those_of_boto3() -> None:
    storage = ObjectStorage(endpoint=None, region="eu-west-1", **KEYS)
    link = storage.presign_get(AP, "a b", filename="f", content_type="t/t", expires_in=9)
    client: Any = botocore.session.Session().create_client(
        "s3", region_name="eu-west-1", aws_access_key_id="a", aws_secret_access_key="b",
        config=Config(signature_version="s3v4"),
    )  # fmt: skip
    expected = client.generate_presigned_url("get_object", {"Bucket": AP, "Key": "a b"})
    assert link.partition("?")[0] == expected.partition("?")[0]


def test_a_link_says_that_the_requester_pays() -> None:
    options = StorageOptions(request_payer="requester")
    storage = ObjectStorage(endpoint=None, region="eu-west-1", options=options, **KEYS)
    link = storage.presign_get("b", "k", filename="f", content_type="t/t", expires_in=9)
    assert parse_qs(urlsplit(link).query)["x-amz-request-payer"] == ["requester"]


@pytest.mark.parametrize("proxy", ["https://proxy:3128", "socks5://proxy:1080"])
def test_a_proxy_that_cannot_be_used_is_an_error_at_the_start(
    monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    with pytest.raises(StorageError, match="must be an http:// URL"):
        ObjectStorage(endpoint=None, region="eu-west-1", **KEYS)


def test_a_copy_from_an_access_point_names_its_object(server: ScriptedServer) -> None:
    storage = ObjectStorage(endpoint=server.url, region="r", **KEYS)
    server.responses = [response(b"<CopyPartResult><ETag>e</ETag></CopyPartResult>")]
    storage.upload_part_copy("b", "k", "u", 1, source=(AP, "a b"), start=0, length=1, if_match=None)
    assert f"x-amz-copy-source: {AP}/object/a%20b\r\n".encode() in server.requests[0]
    storage.close()


def test_encryption_owner_acl_class_and_payer_are_sent_where_they_belong(
    server: ScriptedServer,
) -> None:
    options = StorageOptions(
        encryption="aws:kms", kms_key_id="key-1", acl="bucket-owner-full-control",
        storage_class="STANDARD_IA", bucket_owner="111122223333", request_payer="requester",
    )  # fmt: skip
    storage = ObjectStorage(endpoint=server.url, region="r", options=options, **KEYS)
    upload = response(b"<R><UploadId>u</UploadId></R>")
    etag = response(b"<R><ETag>e</ETag></R>", ETag='"e"')
    server.responses = [etag, etag, upload, etag, etag, OK]
    storage.put_object("b", "k", b"x")
    storage.put_object("b", "indexes/k", b"x", is_archive=False)
    storage.create_multipart_upload("b", "k")
    storage.upload_part("b", "k", "u", 1, b"x", crc32=0)
    storage.complete_multipart_upload(
        "b", "k", "u", [UploadedPart(number=1, etag='"e"', crc32=0)]
    )  # fmt: skip
    storage.read_into("b", "k", memoryview(bytearray(2)))
    put, index, create, part, complete, read = (r.decode() for r in server.requests)
    for request in (put, index, create):
        assert "x-amz-server-side-encryption: aws:kms\r\n" in request
        assert "x-amz-server-side-encryption-aws-kms-key-id: key-1\r\n" in request
        assert "x-amz-acl: bucket-owner-full-control\r\n" in request
    for request in (put, create):
        assert "x-amz-storage-class: STANDARD_IA\r\n" in request
    assert "x-amz-storage-class" not in index
    for request in (put, index, create, part, complete):
        assert "x-amz-expected-bucket-owner: 111122223333\r\n" in request
    assert "expected-bucket-owner" not in read
    assert all("x-amz-request-payer: requester\r\n" in r.decode() for r in server.requests)
    storage.close()


@pytest.mark.parametrize(("url", "env", "proxy"), [
    ("https://s3.example", {"HTTPS_PROXY": "http://proxy:3128"}, "http://proxy:3128"),
    ("https://s3.example", {"HTTPS_PROXY": "proxy:3128"}, "http://proxy:3128"),
    ("http://s3.example", {"HTTPS_PROXY": "http://proxy:3128"}, None),
    ("https://s3.example", {"HTTPS_PROXY": "http://proxy:1", "NO_PROXY": "s3.example"}, None),
    ("https://s3.example", {}, None),
])  # fmt: skip
def test_the_proxy_comes_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, url: str, env: dict[str, str], proxy: str | None
) -> None:
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    assert proxy_of(url) == proxy


class Proxy:
    """A proxy that forwards one kind of connection to ``target``."""

    def __init__(self, target: int, *, status: bytes = b"200 OK") -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://user:p%40ss@127.0.0.1:{self._listener.getsockname()[1]}"
        self._target, self._status = target, status
        self.heads: list[bytes] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            self._forward(connection)

    def _forward(self, connection: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(65_536)
        self.heads.append(head)
        with socket.create_connection(("127.0.0.1", self._target)) as server:
            if head.startswith(b"CONNECT"):
                connection.sendall(b"HTTP/1.1 " + self._status + b"\r\nVia: x\r\n\r\n")
            else:
                server.sendall(head)
            there = threading.Thread(target=_pump, args=(connection, server), daemon=True)
            there.start()
            _pump(server, connection)
            there.join(5)


def _pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while block := source.recv(65_536):
            target.sendall(block)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return


def request(pool: HttpPool) -> bytes:
    with pool.request("GET", "/k", {"host": pool.host}, cancellation=Cancellation()) as found:
        return found.read_all()


def test_plain_requests_go_to_the_proxy_in_absolute_form(server: ScriptedServer) -> None:
    port = int(server.url.rpartition(":")[2])
    proxy = Proxy(port)
    server.responses = [OK]
    pool = HttpPool("http://s3.example:8333", proxy=proxy.url)
    assert request(pool) == b"ok"
    assert proxy.heads[0].startswith(b"GET http://s3.example:8333/k HTTP/1.1\r\n")
    assert b"proxy-authorization: Basic dXNlcjpwQHNz\r\n" in proxy.heads[0]
    pool.close()
    proxy.close()


class TlsServer:
    """Responds to one request over TLS."""

    def __init__(self, certificate: Path) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._context = context
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                raw, _ = self._listener.accept()
                with self._context.wrap_socket(raw, server_side=True) as connection:
                    connection.recv(65_536)
                    connection.sendall(OK)
                    connection.recv(1)
            except ssl.SSLError:
                continue
            except OSError:
                return

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def tls(tmp_path: Path) -> Iterator[tuple[TlsServer, Path]]:
    certificate = make_certificate("localhost", tmp_path)
    server = TlsServer(certificate)
    yield server, certificate
    server.close()


def test_only_the_configured_authorities_are_trusted(
    tls: tuple[TlsServer, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, certificate = tls
    url = f"https://localhost:{server.port}"
    with pytest.raises(NetworkError):
        request(HttpPool(url))
    pool = HttpPool(url, ca_bundle=str(certificate))
    assert request(pool) == b"ok"
    pool.close()
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
    storage = ObjectStorage(endpoint=url, region="r", **KEYS)
    view = memoryview(bytearray(2))
    storage.read_into("b", "k", view)
    assert bytes(view) == b"ok"
    storage.close()


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
def test_authorities_that_cannot_be_read_are_an_error_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None
) -> None:
    bundle = tmp_path / "ca.pem"
    if content is not None:
        bundle.write_bytes(content)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(bundle))
    with pytest.raises(StorageError, match=r"ca\.pem cannot be read"):
        ObjectStorage(endpoint="https://s3.example", region="r", **KEYS)


def test_tls_is_tunneled_through_the_proxy(tls: tuple[TlsServer, Path]) -> None:
    server, certificate = tls
    proxy = Proxy(server.port)
    pool = HttpPool(
        f"https://localhost:{server.port}", proxy=proxy.url, ca_bundle=str(certificate)
    )  # fmt: skip
    assert request(pool) == b"ok"
    assert proxy.heads[0].startswith(f"CONNECT localhost:{server.port} HTTP/1.1\r\n".encode())
    assert b"proxy-authorization: Basic dXNlcjpwQHNz\r\n" in proxy.heads[0]
    pool.close()
    proxy.close()


def test_a_proxy_that_rejects_the_tunnel_is_a_network_error(tls: tuple[TlsServer, Path]) -> None:
    server, _ = tls
    proxy = Proxy(server.port, status=b"407 Proxy Authentication Required")
    with pytest.raises(NetworkError):
        request(HttpPool(f"https://localhost:{server.port}", proxy=proxy.url))
    proxy.close()
