"""Redirects, RFC 9110, 15.4: within the allow-list only, and without giving credentials away."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from common.sources.http_client import HttpClient
from common.sources.http_connections import Url
from tests.integration.sources.conftest import Download, Downloads
from tests.support.raw_origin import RawOrigin, Request, partial, response

DATA = random.Random(5).randbytes(20_000)


def redirect(location: object, status: int = 302) -> bytes:
    return response(status=status, etag=None, location=location)


def to(location: Callable[[Request], object], status: int = 302) -> Callable[[Request], bytes]:
    """Return an origin that redirects ``/files/1``, and has the file everywhere else."""
    return lambda request: (
        redirect(location(request), status)
        if request.target == "/files/1"
        else partial(request, DATA)
    )


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed(download: Downloads, status: int) -> None:
    """RFC 9110, 15.4.2 to 15.4.9."""
    files = download(to(lambda _: "/there/report.pdf", status))
    assert files.archive() == {"report.pdf": DATA}


@pytest.mark.parametrize("spelling", [
    "http://LOCALHOST:{port}/a.txt",
    "HTTP://localhost:{port}/a.txt",
    "http://localhost.:{port}/a.txt",
    "//LocalHost:{port}/a.txt",
    "http://localhost:{port}/x/../a.txt",
    "http://localhost:{port}/a.txt#fragment",
])  # fmt: skip
def test_own_host_is_recognized_in_every_spelling(spelling: str) -> None:
    """RFC 9110, 4.2.3 and RFC 3986, 6.2.2: scheme and host do not depend on case."""
    origin = RawOrigin(lambda r: to(lambda _: spelling.format(port=origin.port))(r))
    try:
        files = _download_from_localhost(origin, authorization="Bearer secret")
        assert files == {"a.txt": DATA}
        # It is the origin that the credentials are for.
        assert {r.headers.get("authorization") for r in origin.requests} == {"Bearer secret"}
    finally:
        origin.close()


def _download_from_localhost(origin: RawOrigin, **options: str) -> dict[str, bytes]:
    files = Download(origin, host=f"localhost:{origin.port}", **options)
    try:
        return files.archive()
    finally:
        files.source.close()


@pytest.mark.parametrize(("one", "other"), [
    ("https://host/a", "https://host:443/a"),
    ("https://host/a", "HTTPS://HOST/a"),
    ("https://host/a", "https://host./a"),
    ("http://host/a", "http://host:80/a"),
    ("https://host:8443/a", "https://HOST.:8443/a"),
    ("https://b\u00fccher.example/a", "https://xn--bcher-kva.example/a"),
    ("https://[::1]/a", "https://[::1]:443/a"),
    ("https://host", "https://host/"),
    ("https://host/%7ea", "https://host/%7Ea"),
])  # fmt: skip
def test_urls_of_one_resource_are_equal(one: str, other: str) -> None:
    """RFC 9110, 4.2.3."""
    assert Url.parse(one) == Url.parse(other)


@pytest.mark.parametrize(("one", "other"), [
    ("https://host/a", "http://host/a"),
    ("https://host/a", "https://host:8443/a"),
    ("https://host/a", "https://host.evil.example/a"),
    ("https://host/a", "https://sub.host/a"),
])  # fmt: skip
def test_other_origins_are_not_equal(one: str, other: str) -> None:
    """RFC 9110, 4.3.1: an origin is scheme, host and port."""
    assert Url.parse(one).origin != Url.parse(other).origin


@pytest.mark.parametrize("location", [
    "http://127.0.0.1:{port}1/x",
    "http://127.0.0.2:{port}/x",
    "http://localhost:{port}/x",
    "http://169.254.169.254/latest/meta-data",
    "http://[::1]:{port}/x",
    "http://127.0.0.1/x",
    "http://user@127.0.0.1:{port}/x",
    "http://user:password@127.0.0.1:{port}/x",
    "http://127.0.0.1:{port}@evil.example/x",
    "http://evil.example\\@127.0.0.1:{port}/x",
    "http://2130706433:{port}/x",
    "http://0x7f000001:{port}/x",
    "file:///etc/passwd",
    "ftp://127.0.0.1:{port}/x",
    "javascript:alert(1)",
    "gopher://127.0.0.1:{port}/x",
    "http://127.0.0.1:99999/x",
    "http://127.0.0.1:port/x",
    "http://[::1/x",
    "http://\u00ff.example/x",
    "https://127.0.0.1:{port}/x",
])  # fmt: skip
def test_redirect_to_another_host_is_not_followed(download: Downloads, location: str) -> None:
    """RFC 9110, 15.4: following is a choice; ours is ``SOURCE_REDIRECT_HOSTS``."""
    files = download(
        to(lambda request: location.format(port=request.headers["host"].partition(":")[2]))
    )
    assert files.error() == "PERMISSION_DENIED"
    assert {request.target for request in files.origin.requests} == {"/files/1"}


def test_credentials_are_sent_to_their_own_origin_only(download: Downloads) -> None:
    """RFC 9110, 15.4: Authorization is removed when a redirect leaves the origin."""
    other = download(lambda request: partial(request, DATA))
    files = download(
        to(lambda _: f"{other.origin.url}/x.bin"),
        redirect_hosts=frozenset({other.origin.host.upper()}),
        authorization="Bearer secret",
    )
    assert files.archive() == {"x.bin": DATA}
    assert all("authorization" in request.headers for request in files.origin.requests)
    assert not any("authorization" in request.headers for request in other.origin.requests)


@pytest.mark.parametrize("location", ["/files/1", "http://{host}/files/1", "", "?", None])
def test_redirect_loop_ends(download: Downloads, location: str | None) -> None:
    """RFC 9110, 15.4: a client should detect cyclical redirections."""
    files = download(
        to(lambda request: location and location.format(host=request.headers["host"]))
        if location != "?"
        else lambda _: redirect("?")
    )
    assert files.error() == "NETWORK_ERROR"
    assert len(files.origin.requests) < 100


def test_endless_chain_of_redirects_ends(download: Downloads) -> None:
    """RFC 9110, 15.4: browsers follow 20; this service follows five."""
    files = download(lambda request: redirect(f"{request.target}1"))
    assert files.error() == "NETWORK_ERROR"


def test_location_may_contain_any_bytes(download: Downloads) -> None:
    """RFC 3986, 2.1: what is not allowed in a URL is encoded, and not sent as it is."""
    name = "\u00fcber alles.txt".encode().decode("latin-1")
    files = download(to(lambda _: f"/files/{name}?a b"))
    assert files.archive() == {"\u00fcber alles.txt": DATA}
    assert files.origin.requests[-1].target == "/files/%C3%BCber%20alles.txt?a%20b"


def test_redirect_from_https_to_http_is_not_allowed() -> None:
    """RFC 9110, 17.1: the allow-list names hosts, and never allows to give up TLS."""
    client = HttpClient(
        origin="https://host", redirect_hosts=frozenset({"cdn.example"}), authorization=None
    )
    allowed = {str(origin.scheme) for origin in client._allowed}
    assert allowed == {"https"}


def test_malformed_redirect_host_is_rejected_at_start() -> None:
    with pytest.raises(ValueError, match="SOURCE_REDIRECT_HOSTS"):
        HttpClient(origin="https://host", redirect_hosts=frozenset({"a b/"}), authorization=None)
