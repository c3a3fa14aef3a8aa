"""Where nginx, in front of the API, differs from what ``cases.py`` says, with the reason.

Nothing here reaches the API: nginx sends it requests of its own, which it has parsed. It also keeps
a connection open after errors of the API, so that its end is not checked there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tests.integration.http_conformance.cases import ACCEPTED, BAD, JSON, OK, Statuses

#: The pages of nginx's documentation.
CORE: Final = "https://nginx.org/en/docs/http/ngx_http_core_module.html"
CHANGES: Final = "https://nginx.org/en/CHANGES"


@dataclass(frozen=True, kw_only=True)
class Difference:
    """What happens to one case instead."""

    reason: str
    responses: tuple[Statuses, ...] = (OK,)
    closes: bool = False
    #: Sent after the case.
    more: bytes = b""


_IGNORED_HEADER: Final = Difference(
    reason=f"{CORE}#ignore_invalid_headers: on by default; the field is not forwarded"
)
_BARE_LF: Final = Difference(
    reason="RFC 9112, 2.2: a recipient may recognize a single LF as a line terminator"
)
_MINOR_VERSION: Final = Difference(
    reason="RFC 9110, 2.5: a higher minor version is processed as the highest one implemented; "
    f"{CHANGES}, 0.8.39: 505 for other major versions only"
)
_TRAILERS: Final = Difference(
    reason=f"{CHANGES}, 1.3.9: the body is read from its chunks; trailers are discarded, which "
    "RFC 9110, 6.5.1 allows, and are not forwarded",
    responses=(ACCEPTED,),
)

NGINX: Final[dict[str, Difference]] = {
    "TRACE is not supported": Difference(
        reason="nginx rejects TRACE itself, and closes the connection",
        responses=((405,),),
        closes=True,
    ),
    "no version": Difference(
        reason=f"{CHANGES}, 0.1.14: HTTP/0.9; the response is a body without a head",
        responses=(),
        closes=True,
    ),
    "HTTP/1.2": _MINOR_VERSION,
    "HTTP/1.10": _MINOR_VERSION,
    "bare LF after the request line": _BARE_LF,
    "bare LF after a field": _BARE_LF,
    "space before the version's line end": Difference(
        reason="RFC 9112, 3: a recipient may ignore whitespace at the end of the request line"
    ),
    "another scheme": Difference(
        reason="nginx uses host and path of the absolute form (RFC 9112, 3.2.2) and no scheme"
    ),
    "OPTIONS *": Difference(
        reason="nginx rejects the asterisk form", responses=(BAD,), closes=True
    ),
    "no colon": _IGNORED_HEADER,
    "parenthesis in a name": _IGNORED_HEADER,
    "byte above 127 in a name": _IGNORED_HEADER,
    "extension of 64 KB": Difference(
        reason="nginx skips chunk extensions (RFC 9112, 7.1.1) while it reads, and stores none",
        responses=(ACCEPTED,),
        more=JSON + b"\r\n0\r\n\r\n",
    ),
    "close before keep-alive": Difference(
        reason="nginx looks at the last of several fields alone, and keeps the connection"
    ),
    "200 trailers": _TRAILERS,
    "length as a trailer": _TRAILERS,
    "the body is already here": Difference(
        reason="RFC 9110, 10.1.1: a server may omit 100 Continue then, and nginx does not",
        responses=((100,), ACCEPTED),
    ),
    "no body": Difference(
        reason="nginx sends 100 Continue before it knows that no body follows",
        responses=((100,), OK),
    ),
}
