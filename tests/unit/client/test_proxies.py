"""Which hosts NO_PROXY excludes, and proxies that cannot be used."""

from __future__ import annotations

import sys

import httpx
import pytest

from longhaul_client import InvalidSetting, Longhaul
from longhaul_client.proxies import EnvironmentProxies, bypasses_proxy


@pytest.mark.parametrize(
    ("exceptions", "excluded", "others"),
    [
        ("", [], ["api.test"]),
        ("*", ["api.test", "::1", "10.0.0.1"], []),
        ("::1", ["::1"], ["::2", "127.0.0.1"]),
        ("[::1]", ["::1"], ["::2"]),
        ("[::1]:8080", ["::1"], ["::2"]),
        ("fd00::/8", ["fd12::1"], ["fe80::1", "fd"]),
        ("[fd00::]/8", ["fd12::1"], ["fe80::1"]),
        ("10.0.0.0/8, 127.0.0.1", ["10.1.2.3", "127.0.0.1"], ["11.0.0.1"]),
        ("example.com", ["example.com", "a.EXAMPLE.com"], ["notexample.com", "example.org"]),
        (".example.com", ["a.example.com", "example.com"], ["notexample.com"]),
        ("*.example.com", ["a.example.com"], ["notexample.com"]),
        ("example.com:8080", ["example.com"], []),
        ("example.com:9999", [], ["example.com"]),
        (",, ,", [], ["api.test"]),
        ("example.com 10.0.0.0/8\tapi.test", ["a.example.com", "10.1.2.3", "api.test"], ["b.test"]),
    ],
)
def test_no_proxy_excludes_hosts(exceptions: str, excluded: list[str], others: list[str]) -> None:
    assert [host for host in excluded if not bypasses_proxy(host, 8080, exceptions)] == []
    assert [host for host in others if bypasses_proxy(host, 8080, exceptions)] == []


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def test_requests_go_through_the_proxy_of_their_scheme(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://secure.test:3128")
    monkeypatch.setenv("ALL_PROXY", "other.test:3128")
    monkeypatch.setenv("NO_PROXY", "[::1],fd00::/8")
    proxies = EnvironmentProxies()
    chosen = [
        proxies._transport_for(httpx.URL(url))
        for url in ("https://api.test/", "http://api.test/", "http://[::1]:8080/")
    ]
    assert chosen == [proxies._proxied["https"], proxies._proxied["http"], proxies._direct]
    proxies.close()


@pytest.mark.parametrize(
    ("url", "entry"),
    [
        ("http://api.test/", "api.test:80"),
        ("http://api.test:80/", "api.test:80"),
        ("https://api.test/", "api.test:443"),
    ],
)
def test_an_entry_with_the_default_port_of_the_scheme_is_excluded(
    monkeypatch: pytest.MonkeyPatch, url: str, entry: str
) -> None:
    # RFC 9110, 4.2.1 and 4.2.2: a URL without a port has the default port of its scheme.
    monkeypatch.setenv("ALL_PROXY", "proxy.test:3128")
    monkeypatch.setenv("NO_PROXY", entry)
    proxies = EnvironmentProxies()
    assert proxies._transport_for(httpx.URL(url)) is proxies._direct
    proxies.close()


@pytest.mark.parametrize(
    ("host", "direct"),
    [
        ("127.0.0.1:8080", True),
        ("127.1.2.3", True),
        ("[::1]:8080", True),
        ("LOCALHOST", True),
        ("localhost.", True),
        ("s3.localhost:9000", True),
        ("128.0.0.1", False),
        ("[::2]", False),
        ("notlocalhost", False),
        ("localhost.example.com", False),
    ],
)
def test_requests_to_this_machine_use_no_proxy(
    monkeypatch: pytest.MonkeyPatch, host: str, direct: bool
) -> None:
    # RFC 1122, 3.2.1.3 (127.0.0.0/8), RFC 4291, 2.5.3 (::1) and RFC 6761, 6.3 (localhost).
    monkeypatch.setenv("HTTP_PROXY", "proxy.test:3128")
    proxies = EnvironmentProxies()
    assert (proxies._transport_for(httpx.URL(f"http://{host}/")) is proxies._direct) is direct
    proxies.close()


@pytest.mark.parametrize(
    "proxy", ["foo://proxy.test", "http://[::1", "http://me:s3cret@proxy.test:x"]
)
def test_a_proxy_that_cannot_be_used_is_an_invalid_setting(
    monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(InvalidSetting, match="is not a URL that can be used") as caught:
        Longhaul("http://api.test")
    assert "s3cret" not in str(caught.value)


def test_a_socks_proxy_without_its_package_is_an_invalid_setting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "socksio", None)
    monkeypatch.setenv("ALL_PROXY", "socks5://proxy.test:1080")
    with pytest.raises(InvalidSetting, match=r"longhaul-client\[socks\]"):
        Longhaul("http://api.test")
