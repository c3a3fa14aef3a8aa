"""Where webhooks may be sent: only to public addresses (protection against SSRF).

``check_callback_url`` checks the URL when a job is created. ``is_public`` checks the address right
before connecting, because a name may resolve to another one by then (DNS rebinding).
"""

from __future__ import annotations

import ipaddress
from typing import Final
from urllib.parse import urlsplit

from common.errors import LonghaulError

MAX_LENGTH: Final = 2_048

_PRIVATE_NAMES: Final = (".localhost", ".local", ".localdomain", ".internal", ".intranet", ".lan")
#: RFC 6052: NAT64, with an IPv4 address in the last 32 bits.
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
#: Global according to their registry, but not on the public internet.
_BLOCKED: Final = tuple(
    map(
        ipaddress.ip_network,
        (
            "168.63.129.16/32",  # Azure's host agent
            "192.0.0.0/24",  # RFC 6890; includes Oracle Cloud's metadata service
            "192.88.99.0/24",  # RFC 7526, former 6to4 relays
            "2001::/23",  # RFC 2928: Teredo, ORCHID and others
            "2002::/16",  # RFC 3056: 6to4, contains any IPv4 address
            "3fff::/20",  # RFC 9637, documentation
        ),
    )
)
_UNICAST: Final = ipaddress.IPv6Network("2000::/3")


class CallbackUrlRejected(LonghaulError):
    """The callback URL is not an http or https URL of a public host."""

    code = "CALLBACK_BLOCKED"


def check_callback_url(url: str, *, allow_private: bool = False) -> None:
    """Raise ``CallbackUrlRejected`` if the URL itself shows that it must not be called.

    ``allow_private`` is for intranets: it allows private addresses and names without a dot.
    """
    host = _host(url)
    if not host:
        raise CallbackUrlRejected("Must be an http or https URL without credentials.")
    if not allow_private and not _looks_public(host):
        raise CallbackUrlRejected("The host of the URL must be public.")


def is_public(address: str) -> bool:
    """Return whether an IPv4 or IPv6 address is reachable on the public internet."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return is_public(str(ip.ipv4_mapped))
        if ip in _NAT64:
            return is_public(str(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)))
        if ip not in _UNICAST:
            return False
    return (
        ip.is_global
        and not (ip.is_multicast or ip.is_reserved)
        and not any(ip in network for network in _BLOCKED)
    )


def _host(url: str) -> str | None:
    if len(url) > MAX_LENGTH or any(not "!" <= character <= "~" for character in url):
        return None
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or "@" in parts.netloc or port == 0:
        return None
    return None if host is None or "%" in host or "\\" in url else host.rstrip(".")


def _looks_public(host: str) -> bool:
    try:
        return is_public(host)
    except ValueError:
        pass
    if "." not in host or host.endswith(_PRIVATE_NAMES):
        return False
    # A last label that begins with a digit is a legacy notation of an IPv4 address.
    return not host.rpartition(".")[2][0].isdecimal()
