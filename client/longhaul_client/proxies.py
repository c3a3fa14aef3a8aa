"""Chooses the proxy of a request from the environment: HTTP_PROXY, ALL_PROXY, NO_PROXY, …

httpx reads these variables too, but raises for an IPv6 address or network in NO_PROXY.
"""

from __future__ import annotations

import ipaddress
import re
import urllib.request

import httpx

_DEFAULT_PORTS = {"http": 80, "https": 443}


class EnvironmentProxies(httpx.BaseTransport):
    """Sends each request through the proxy that the environment names for its host.

    Requests to this machine are sent directly.
    """

    def __init__(self) -> None:
        """Raise ``ValueError``, ``ImportError`` or ``httpx.InvalidURL`` for an unusable proxy."""
        proxies = urllib.request.getproxies()
        self._exceptions = proxies.get("no", "")
        self._direct = httpx.HTTPTransport()
        self._proxied = {
            scheme: httpx.HTTPTransport(proxy=url if "://" in url else f"http://{url}")
            for scheme in ("http", "https")
            if (url := proxies.get(scheme) or proxies.get("all"))
        }

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self._transport_for(request.url).handle_request(request)

    def close(self) -> None:
        for transport in (self._direct, *self._proxied.values()):
            transport.close()

    def _transport_for(self, url: httpx.URL) -> httpx.HTTPTransport:
        # httpx leaves out the default port of the scheme.
        port = url.port or _DEFAULT_PORTS.get(url.scheme)
        if (
            url.scheme not in self._proxied
            or is_loopback(url.host)
            or bypasses_proxy(url.host, port, self._exceptions)
        ):
            return self._direct
        return self._proxied[url.scheme]


def is_loopback(host: str) -> bool:
    """Return whether the host is this machine: a proxy would connect to itself instead.

    All names below ``localhost`` are loopback names (RFC 6761, 6.3).
    """
    if f".{host.lower().removesuffix('.')}".endswith(".localhost"):
        return True
    address = _network(host)
    return address is not None and address.is_loopback


def bypasses_proxy(host: str, port: int | None, exceptions: str) -> bool:
    """Return whether NO_PROXY names the host: by name, domain, address or network, or by ``*``.

    As with curl, commas or white space separate entries, an entry may end with a port, and an IPv6
    address may be in brackets.
    """
    address = _network(host)
    for entry in filter(None, re.split(r"[,\s]+", exceptions.lower())):
        name, its_port = _split_port(entry)
        if its_port and its_port != str(port):
            continue
        network = _network(name)
        if network is not None:
            if address is not None and address.network_address in network:
                return True
            continue
        domain = name.removeprefix("*").removeprefix(".")
        if name == "*" or host.lower() == domain or host.lower().endswith(f".{domain}"):
            return True
    return False


def _split_port(entry: str) -> tuple[str, str]:
    """Return the host or network, and the port; an empty one if there is none."""
    if entry.startswith("["):
        address, _, rest = entry[1:].partition("]")
        return (address + rest, "") if rest.startswith("/") else (address, rest.removeprefix(":"))
    name, separator, port = entry.partition(":")
    return (name, port) if separator and ":" not in port else (entry, "")


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """Return an address or a network in CIDR notation; None for anything else."""
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None
