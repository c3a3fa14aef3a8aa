"""Which host names the API responds to, against DNS rebinding.

A page of any site can make its own name resolve to 127.0.0.1 and then call an API on the user's
machine as if it were the site's own. The browser shows that only in the Host header. A server that
requires tokens, or that other machines can reach anyway, loses nothing by it and is not checked.
The metrics port never requires tokens, so it is checked whenever only this machine can reach it.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from urllib.parse import urlsplit

_ALL = "*"


class AllowedHosts:
    """The names in Host headers that the API accepts."""

    def __init__(self, names: str, *, public_url: str = "") -> None:
        """``names``: comma-separated, besides this machine's; ``*`` for all."""
        listed = {name.strip().lower() for name in names.split(",") if name.strip()}
        self._allows_all = _ALL in listed
        self._names = {"localhost", *listed}
        if host := urlsplit(public_url).hostname:
            self._names.add(host.lower())
        self._cached = lru_cache(maxsize=256)(self._is_allowed)

    def allow(self, host: str) -> bool:
        """Return whether a request with this Host header is accepted; without one, it is."""
        return self._allows_all or self._cached(host)

    def _is_allowed(self, host: str) -> bool:
        if not host:
            # Browsers always send it.
            return True
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return name.removesuffix(".") in self._names or _is_loopback(name)


def for_server(address: str, names: str, *, public_url: str, requires_tokens: bool) -> AllowedHosts:
    """Return the allowed hosts of a server that listens on ``address``."""
    is_checked = is_local(address) and not requires_tokens
    return AllowedHosts(names if is_checked else _ALL, public_url=public_url)


def is_local(address: str) -> bool:
    """Return whether only this machine can reach a server that listens on ``address``."""
    return address.lower() == "localhost" or _is_loopback(address)


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
