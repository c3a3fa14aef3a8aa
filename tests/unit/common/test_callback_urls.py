"""Which callback URLs are rejected when a job is created, and which addresses on connecting."""

from __future__ import annotations

import pytest

from common.callback_urls import CallbackUrlRejected, check_callback_url, is_public

PUBLIC = ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]

PRIVATE = [
    *("127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "0.0.0.0", "255.255.255.255"),  # noqa: S104
    *("169.254.169.254", "100.64.0.1", "100.100.100.200", "192.0.0.192", "168.63.129.16"),
    *("224.0.0.1", "239.255.255.250", "240.0.0.1", "198.18.0.1", "192.0.2.1", "192.88.99.1"),
    *("::1", "::", "fe80::1", "fd00:ec2::254", "fec0::1", "ff02::1", "2001:db8::1", "3fff::1"),
    *("::ffff:127.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "::ffff:0:7f00:1"),
    *("64:ff9b::a00:1", "64:ff9b:1::1", "2002:7f00:1::", "2001:0:4136:e378:8000:63bf:3fff:fdd2"),
]


@pytest.mark.parametrize("address", PUBLIC)
def test_an_internet_address_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", PRIVATE)
def test_internal_and_multicast_addresses_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/hook?a=b",
        "http://example.com:8080/",
        "https://8.8.8.8/hook",
        "https://[2606:4700::1111]:8443/hook",
        "https://xn--bcher-kva.example/hook",
    ],
)
def test_a_url_of_a_public_host_is_accepted(url: str) -> None:
    check_callback_url(url)


@pytest.mark.parametrize(
    "url",
    [
        *("", "example.com", "ftp://example.com/", "file:///etc/passwd", "gopher://example.com/"),
        *("https://", "https:///path", "https://user:pw@example.com/", "https://@example.com/"),
        *("http://example.com:99999/", "http://example.com:0/", "http://exa mple.com/"),
        *("http://example.com/\r\nX: y", "http://example.com/\u00e9", "http://[fe80::1%25eth0]/"),
        *("http://8.8.8.8\\@127.0.0.1/", "https://example.com/" + "a" * 2048),
        *("http://localhost/", "http://localhost./", "http://LOCALHOST/", "http://a.localhost/"),
        *("http://printer.local/", "http://vault.internal/", "http://backend/"),
        *("http://127.0.0.1/", "http://[::1]/", "http://[::ffff:10.0.0.1]/", "http://10.1.2.3:80/"),
        *("http://127.1/", "http://2130706433/", "http://0x7f.0.0.1/", "http://0177.0.0.1/"),
        *("http://169.254.169.254/latest/meta-data/", "http://[fd00:ec2::254]/"),
    ],
)
def test_an_invalid_or_private_url_is_rejected(url: str) -> None:
    with pytest.raises(CallbackUrlRejected):
        check_callback_url(url)


def test_allow_private_accepts_intranet_hosts_but_no_invalid_urls() -> None:
    check_callback_url("http://127.0.0.1:8000/hook", allow_private=True)
    check_callback_url("http://backend/hook", allow_private=True)
    with pytest.raises(CallbackUrlRejected):
        check_callback_url("file:///etc/passwd", allow_private=True)
