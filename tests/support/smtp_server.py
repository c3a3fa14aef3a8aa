"""An SMTP server (RFC 5321) that records messages and replies as the test defines."""

from __future__ import annotations

import base64
import email
import email.policy
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any

from stack.process import wait_until


@dataclass(kw_only=True)
class Mail:
    """A message as it arrived."""

    sender: str
    recipients: list[str]
    content: bytes
    #: The connection was encrypted, and by whom it was authenticated.
    tls: bool
    user: str | None

    @property
    def message(self) -> EmailMessage:
        parsed = email.message_from_bytes(self.content, policy=email.policy.default)
        assert isinstance(parsed, EmailMessage)
        return parsed


@dataclass(kw_only=True)
class SmtpServer:
    """Records ``mails``."""

    port: int = 0
    mails: list[Mail] = field(default_factory=list)
    #: Command (``RCPT``, ``DATA``, ``.`` for the end of the data, …) -> replies in order;
    #: afterwards the command succeeds. An empty reply closes the connection.
    replies: dict[str, list[str]] = field(default_factory=dict)
    offers_starttls: bool = True
    #: Seconds between two bytes of the greeting.
    greeting_delay: float = 0.0
    #: Seconds between two bytes of the reply to QUIT.
    farewell_delay: float = 0.0

    def wait_for(self, count: int) -> list[Mail]:
        wait_until(lambda: len(self.mails) >= count, f"{count} emails", timeout=15)
        return self.mails


@contextmanager
def running(
    tls: ssl.SSLContext | None = None, *, implicit_tls: bool = False
) -> Iterator[SmtpServer]:
    """Run a server; with ``implicit_tls`` its connections are encrypted from the first byte."""
    server = SmtpServer(offers_starttls=tls is not None and not implicit_tls)

    class Handler(_Handler):
        state = server
        context = tls
        encrypted_at_once = implicit_tls

    class Listener(ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Ignore clients that go away."""

    with Listener(("127.0.0.1", 0), Handler) as listener:
        server.port = listener.server_address[1]
        thread = threading.Thread(target=listener.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield server
        listener.shutdown()


class _Handler(StreamRequestHandler):
    state: SmtpServer
    context: ssl.SSLContext | None
    encrypted_at_once: bool

    def handle(self) -> None:
        self.tls = False
        self.user: str | None = None
        self.sender, self.recipients = "", list[str]()
        if self.encrypted_at_once:
            self.encrypt()
        self.send("220 test ready\r\n", self.state.greeting_delay)
        while line := self.rfile.readline():
            verb, _, rest = line.decode().rstrip("\r\n").partition(" ")
            if not self.run(verb.upper(), rest):
                return

    def finish(self) -> None:
        super().finish()
        self.connection.close()

    def encrypt(self) -> None:
        assert self.context is not None
        self.connection = self.context.wrap_socket(self.request, server_side=True)
        self.rfile = self.connection.makefile("rb")
        self.wfile = self.connection.makefile("wb", buffering=0)
        self.tls = True

    def reply(self, verb: str, default: str) -> bool:
        """Send the next reply; return whether the command succeeded and the connection stays."""
        scripted = self.state.replies.get(verb)
        text = scripted.pop(0) if scripted else default
        if not text:
            raise ConnectionAbortedError
        self.send(f"{text}\r\n", self.state.farewell_delay if verb == "QUIT" else 0.0)
        return text[0] in "23"

    def send(self, text: str, delay: float) -> None:
        """Send a text; if there is a delay, byte by byte, with so many seconds between two."""
        if not delay:
            self.wfile.write(text.encode())
            return
        for byte in text.encode():
            self.wfile.write(bytes([byte]))
            time.sleep(delay)

    def run(self, verb: str, rest: str) -> bool:
        match verb:
            case "EHLO":
                starttls = "250-STARTTLS\r\n" if self.state.offers_starttls and not self.tls else ""
                self.reply(verb, f"250-test\r\n{starttls}250 AUTH PLAIN")
            case "STARTTLS":
                if self.reply(verb, "220 go"):
                    self.encrypt()
            case "AUTH":
                if self.reply(verb, "235 welcome"):
                    self.user = base64.b64decode(rest.split()[1]).split(b"\0")[1].decode()
            case "MAIL":
                self.sender = rest.partition("<")[2].partition(">")[0]
                self.reply(verb, "250 ok")
            case "RCPT":
                if self.reply(verb, "250 ok"):
                    self.recipients.append(rest.partition("<")[2].partition(">")[0])
            case "DATA":
                if self.reply(verb, "354 go"):
                    self.receive()
            case "QUIT":
                self.reply(verb, "221 bye")
                return False
            case _:
                self.reply(verb, "250 ok")
        return True

    def receive(self) -> None:
        lines = []
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            lines.append(line.removeprefix(b"."))
        self.state.mails.append(
            Mail(
                sender=self.sender,
                recipients=self.recipients,
                content=b"".join(lines),
                tls=self.tls,
                user=self.user,
            )
        )
        self.reply(".", "250 queued")
