"""Sends messages to an SMTP server: TLS is verified, and every message has a deadline."""

from __future__ import annotations

import smtplib
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Any, Final, Self
from urllib.parse import parse_qsl, unquote, urlsplit

from worker.timed_connection import TimedConnection

#: Seconds for one step, and for all of them together.
STEP_TIMEOUT: Final = 10.0
TOTAL_TIMEOUT: Final = 30.0
_DEFAULT_PORTS: Final = {"smtp": 587, "smtps": 465}


@dataclass(frozen=True, kw_only=True)
class SmtpReply:
    """The result of sending one message. Exactly one of ``code`` and ``error`` is set."""

    #: Of the reply that ended the attempt; 250: the server has the message.
    code: int | None = None
    #: One of ``common.job_store.deliveries.POST_ERRORS``.
    error: str | None = None
    #: The server will not accept the message later, either.
    permanent: bool = False

    @property
    def accepted(self) -> bool:
        return self.code == 250


@dataclass(frozen=True, kw_only=True)
class SmtpServer:
    """Where messages are sent to. Thread safe: each message has its own connection."""

    host: str
    port: int
    #: From the first byte (``smtps``), or after STARTTLS, which the server then has to offer.
    implicit_tls: bool = False
    starttls: bool = True
    user: str = ""
    password: str = field(default="", repr=False)
    tls: ssl.SSLContext = field(default_factory=ssl.create_default_context, repr=False)

    @classmethod
    def parse(cls, url: str, *, tls: ssl.SSLContext | None = None) -> Self:
        """Return the server of ``smtps://user:password@host:465`` or ``smtp://…``.

        Raise ``ValueError`` for any other URL, and if a password would be sent without TLS.
        """
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query))
        starttls = options.pop("starttls", "always") != "never"
        if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or options:
            raise ValueError("SMTP_URL must be smtps://host, smtp://host or …?starttls=never")
        implicit = parts.scheme == "smtps"
        if parts.username and not (implicit or starttls):
            raise ValueError("SMTP_URL: a password must not be sent without TLS")
        return cls(
            host=parts.hostname,
            port=parts.port or _DEFAULT_PORTS[parts.scheme],
            implicit_tls=implicit,
            starttls=starttls and not implicit,
            user=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            tls=tls or ssl.create_default_context(),
        )

    def send(self, message: EmailMessage, *, from_address: str, recipient: str) -> SmtpReply:
        """Send a message to one recipient."""
        with TimedConnection(TOTAL_TIMEOUT) as timed:
            client: _Client | None = None
            try:
                client = _Client(self, timed)
                if self.starttls:
                    client.starttls(context=self.tls)
                if self.user:
                    client.login(self.user, self.password)
                client.send_message(message, from_address, [recipient])
                return SmtpReply(code=250)
            except (smtplib.SMTPException, OSError, ValueError) as error:
                return SmtpReply(error="timeout") if timed.expired else _reply_for(error)
            finally:
                # In time as well, because the server may not respond to QUIT either.
                if client is not None:
                    _quit(client)


class _Client(smtplib.SMTP):
    def __init__(self, server: SmtpServer, timed: TimedConnection) -> None:
        self._server = server
        self._timed = timed
        # The name of this machine: the default looks it up in the DNS, without a deadline.
        super().__init__(
            server.host, server.port, local_hostname=socket.gethostname(), timeout=STEP_TIMEOUT
        )

    def _get_socket(self, host: str, port: int, timeout: float) -> Any:
        connection = self._timed.connect(host, port, timeout=timeout)
        if not self._server.implicit_tls:
            return connection
        return self._server.tls.wrap_socket(connection, server_hostname=host)


def _quit(client: smtplib.SMTP) -> None:
    # The server has accepted the message or not; an error of QUIT changes nothing.
    with suppress(smtplib.SMTPException, OSError):
        client.quit()
    client.close()


def _reply_for(error: Exception) -> SmtpReply:
    match error:
        case smtplib.SMTPRecipientsRefused():
            code = next(iter(error.recipients.values()))[0]
            return SmtpReply(code=code, permanent=code >= 500)
        case smtplib.SMTPDataError():
            return SmtpReply(code=error.smtp_code, permanent=error.smtp_code >= 500)
        case smtplib.SMTPResponseException():
            # Of the connection, the credentials or the sender: the operator can change that.
            return SmtpReply(code=error.smtp_code)
        case smtplib.SMTPNotSupportedError():
            return SmtpReply(error="tls" if "STARTTLS" in str(error) else "protocol")
        case smtplib.SMTPException():
            # The reason why a connection was lost is its context only.
            timed_out = isinstance(error.__context__, TimeoutError)
            return SmtpReply(error="timeout" if timed_out else "protocol")
        case TimeoutError():
            return SmtpReply(error="timeout")
        case ssl.SSLError():
            return SmtpReply(error="tls")
        case OSError():
            return SmtpReply(error="unreachable")
        case _:
            return SmtpReply(error="protocol")
