"""Who may use the operator's calls.

A caller whose credentials say so (``Caller.admin``), or who has the operator's token. Where there
are no credentials at all and no token is set: whoever sits at this machine. That is told by a
connection from the loopback interface, to a name of this machine, without any trace of a proxy
(behind one every client seems to come from here), and not by another site's page in a browser.
"""

from __future__ import annotations

import hmac
import ipaddress
from typing import Final

from flask import g, request

from api.errors import Forbidden

_TRACES_OF_PROXIES: Final = ("Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP")
_NAMES_OF_THIS_MACHINE: Final = ("localhost", "127.0.0.1", "[::1]")


class Operators:
    """Tells operators from the rest."""

    def __init__(self, *, token: str, trust_this_machine: bool) -> None:
        """``token`` empty: none; ``trust_this_machine`` counts only without a token."""
        self._token = token.encode()
        self._trust_this_machine = trust_this_machine and not token

    def require(self) -> None:
        """Raise ``Forbidden`` unless the request is an operator's."""
        if not (g.caller.admin or self._has_token() or self._at_this_machine()):
            raise Forbidden

    def _has_token(self) -> bool:
        kind, _, given = request.headers.get("Authorization", "").partition(" ")
        return (
            bool(self._token)
            and kind.lower() == "bearer"
            and hmac.compare_digest(given.strip().encode(), self._token)
        )

    def _at_this_machine(self) -> bool:
        return (
            self._trust_this_machine
            and _is_loopback(request.remote_addr or "")
            and not any(name in request.headers for name in _TRACES_OF_PROXIES)
            and request.host.rpartition(":")[0].lower() in _NAMES_OF_THIS_MACHINE
            and request.headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin")
            # Older browsers name only where a request comes from.
            and request.headers.get("Origin", _own_origin()) == _own_origin()
        )


def _own_origin() -> str:
    return request.host_url.rstrip("/")


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
