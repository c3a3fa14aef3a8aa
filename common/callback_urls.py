"""Where a webhook may go: never to an address that only this installation's network can reach.

``check_callback_url`` looks at the URL alone, when it is given. ``is_public`` judges the address
that is about to be connected to, whatever a name resolves to by then (DNS rebinding).
"""

from __future__ import annotations

import ipaddress
from typing import Final
from urllib.parse import urlsplit

from common.errors import LonghaulError

LONGEST: Final = 2_048

_PRIVATE_NAMES: Final = (".localhost", ".local", ".localdomain", ".internal", ".intranet", ".lan")
#: RFC 6052: an IPv4 address behind a translator, in the last 32 bits.
_TRANSLATED: Final = ipaddress.IPv6Network("64:ff9b::/96")
#: Global by their registry, but not destinations on the public internet.
_REFUSED: Final = tuple(
    map(
        ipaddress.ip_network,
        (
            "168.63.129.16/32",  # a cloud's host agent
            "192.0.0.0/24",  # RFC 6890; a cloud's metadata is at .192
            "192.88.99.0/24",  # RFC 7526, once 6to4 relays
            "2001::/23",  # RFC 2928: Teredo, ORCHID and the like
            "2002::/16",  # RFC 3056: 6to4, any IPv4 address inside
            "3fff::/20",  # RFC 9637, documentation
        ),
    )
)
_UNICAST: Final = ipaddress.IPv6Network("2000::/3")


class CallbackUrlRejected(LonghaulError):
    """The callback URL is not an http or https URL of a public host."""

    code = "CALLBACK_REFUSED"


def check_callback_url(url: str, *, allow_private: bool = False) -> None:
    """Raise ``CallbackUrlRejected`` where it is plain that the URL cannot or must not be called.

    ``allow_private`` is for intranets: private addresses and names without a dot pass.
    """
    host = _host(url)
    if not host:
        raise CallbackUrlRejected("An http or https URL without credentials is needed")
    if not allow_private and not _seems_public(host):
        raise CallbackUrlRejected("The URL's host is not public")


def is_public(address: str) -> bool:
    """Whether a numeric IPv4 or IPv6 address is one that anybody on the internet may call."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return is_public(str(ip.ipv4_mapped))
        if ip in _TRANSLATED:
            return is_public(str(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)))
        if ip not in _UNICAST:
            return False
    return (
        ip.is_global
        and not (ip.is_multicast or ip.is_reserved)
        and not any(ip in network for network in _REFUSED)
    )


def _host(url: str) -> str | None:
    if len(url) > LONGEST or any(not "!" <= character <= "~" for character in url):
        return None
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or "@" in parts.netloc or port == 0:
        return None
    return None if host is None or "%" in host or "\\" in url else host.rstrip(".")


def _seems_public(host: str) -> bool:
    try:
        return is_public(host)
    except ValueError:
        pass
    if "." not in host or host.endswith(_PRIVATE_NAMES):
        return False
    # A last label that begins with a digit makes the host an address in some old notation.
    return not host.rpartition(".")[2][0].isdecimal()
