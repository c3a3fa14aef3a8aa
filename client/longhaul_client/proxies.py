"""Chooses the proxy of a request from the environment: HTTP_PROXY, ALL_PROXY, NO_PROXY, …

httpx reads these variables too, but raises for an IPv6 address or network in NO_PROXY.
"""

from __future__ import annotations

import ipaddress
import urllib.request

import httpx


class EnvironmentProxies(httpx.BaseTransport):
    """Sends each request through the proxy that the environment names for its host."""

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
        if url.scheme not in self._proxied or bypasses_proxy(url.host, url.port, self._exceptions):
            return self._direct
        return self._proxied[url.scheme]


def bypasses_proxy(host: str, port: int | None, exceptions: str) -> bool:
    """Return whether NO_PROXY names the host: by name, domain, address or network, or by ``*``.

    An entry may end with a port, and an IPv6 address may be in brackets, as curl accepts them.
    """
    address = _network(host)
    for entry in filter(None, map(str.strip, exceptions.lower().split(","))):
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
