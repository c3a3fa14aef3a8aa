"""Decides who is an operator.

An operator is a caller whose credentials say so (``Caller.admin``), or who sends the operators'
token (ADMIN_TOKEN). With AUTH_MODE=none and no token, requests from this machine are trusted. Such
a request comes over the loopback interface, to a local host name, without any header of a proxy
(behind one, every client seems to be local), and not from another site's page in a browser.
"""

from __future__ import annotations

import hmac
import ipaddress
from typing import Final

from flask import g, request

from api.errors import Forbidden

_PROXY_HEADERS: Final = ("Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP")
_LOCAL_HOST_NAMES: Final = ("localhost", "127.0.0.1", "[::1]")


class Operators:
    """Checks whether requests come from an operator."""

    def __init__(self, *, token: str, trust_localhost: bool) -> None:
        """``trust_localhost`` has an effect only if ``token`` is empty."""
        self._token = token.encode()
        self._trust_localhost = trust_localhost and not token

    def require(self) -> None:
        """Raise ``Forbidden`` unless the request is from an operator."""
        if not (g.caller.admin or self._has_token() or self._is_trusted_local_request()):
            raise Forbidden("Only operators have access to this.")

    def _has_token(self) -> bool:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        return (
            bool(self._token)
            and scheme.lower() == "bearer"
            and hmac.compare_digest(token.strip().encode(), self._token)
        )

    def _is_trusted_local_request(self) -> bool:
        return (
            self._trust_localhost
            and _is_loopback(request.remote_addr or "")
            and not any(name in request.headers for name in _PROXY_HEADERS)
            and request.host.rpartition(":")[0].lower() in _LOCAL_HOST_NAMES
            and request.headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin")
            # Older browsers send only Origin.
            and request.headers.get("Origin", _own_origin()) == _own_origin()
        )


def _own_origin() -> str:
    return request.host_url.rstrip("/")


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
