"""An answer as the text that goes over the wire, for what is answered ahead of Flask.

A list of headers would only be made into this text again, and that took a tenth of a poll.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, cast

if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed.wsgi import StartResponse, WSGIEnvironment

#: In the WSGI environment of a server that takes a ``Prepared`` as it is.
TAKEN: Final = "longhaul.takes_prepared"


class RawResponse(NamedTuple):
    """A whole answer but for what the server adds: Date and Connection.

    Whoever makes one vouches that no value in ``lines`` holds a line end.
    """

    #: Code and phrase.
    status: str
    #: Headers in Latin-1, each with CR LF behind it.
    lines: str
    body: bytes

    def give(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        """The body for WSGI: this itself where the server knows it, else as PEP 3333 has it."""
        if TAKEN in environ:
            return cast("Iterable[bytes]", self)
        names_and_values = (line.partition(": ") for line in self.lines.split("\r\n")[:-1])
        start(self.status, [(name, value) for name, _, value in names_and_values])
        return [self.body]
