"""Responses that are already text in the form that goes over the wire.

The fast path produces them: a list of headers would only be turned into this text again, which took
a tenth of a status poll.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, cast

if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed.wsgi import StartResponse, WSGIEnvironment

#: The key in the WSGI environment by which a server says that it sends a ``RawResponse`` as it is.
ENVIRON_KEY: Final = "longhaul.raw_responses"


class RawResponse(NamedTuple):
    """A whole response except for the headers that the server adds: Date and Connection.

    The code that creates one guarantees that no header value contains a line end.
    """

    #: Code and phrase.
    status: str
    #: Latin-1 text, each line with CR LF at its end.
    header_lines: str
    body: bytes

    def to_wsgi(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Return this response itself if the server supports that, else what PEP 3333 requires."""
        if ENVIRON_KEY in environ:
            return cast("Iterable[bytes]", self)
        names_and_values = (line.partition(": ") for line in self.header_lines.split("\r\n")[:-1])
        start_response(self.status, [(name, value) for name, _, value in names_and_values])
        return [self.body]
