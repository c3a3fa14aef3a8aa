"""Sending to SMTP servers that encrypt, reject, hang and close connections."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest

from tests.support import smtp_server
from tests.support.certificates import make_certificate
from worker.emails.smtp import SmtpReply, SmtpServer

SENDER, RECIPIENT = "downloads@example.com", "ada@example.com"


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    return make_certificate("localhost", tmp_path)


@pytest.fixture
def server_tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture
def trusting(certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate))


@pytest.fixture
def plain() -> Iterator[smtp_server.SmtpServer]:
    with smtp_server.running() as server:
        yield server


def message() -> EmailMessage:
    message = EmailMessage()
    message["Subject"] = "test"
    message.set_content("Hello\n.\nWorld\n")
    return message


def send(url: str, tls: ssl.SSLContext | None = None) -> SmtpReply:
    return SmtpServer.parse(url, tls=tls).send(message(), from_address=SENDER, recipient=RECIPIENT)


def unencrypted(server: smtp_server.SmtpServer) -> str:
    return f"smtp://127.0.0.1:{server.port}?starttls=never"


def test_smtps_encrypts_from_the_first_byte_and_logs_in(
    server_tls: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    with smtp_server.running(server_tls, implicit_tls=True) as server:
        reply = send(f"smtps://us%40er:p%3Aw@localhost:{server.port}", trusting)
        assert reply == SmtpReply(code=250)
        (mail,) = server.mails
    assert (mail.sender, mail.recipients) == (SENDER, [RECIPIENT])
    assert (mail.tls, mail.user) == (True, "us@er")
    assert mail.message.get_content().splitlines() == ["Hello", ".", "World"]


def test_smtp_requires_starttls(server_tls: ssl.SSLContext, trusting: ssl.SSLContext) -> None:
    with smtp_server.running(server_tls) as server:
        assert send(f"smtp://user:pw@localhost:{server.port}", trusting).accepted
        assert (server.mails[0].tls, server.mails[0].user) == (True, "user")
        # Someone in the middle may hide the offer.
        server.offers_starttls = False
        assert send(f"smtp://user:pw@localhost:{server.port}", trusting).error == "tls"
        assert len(server.mails) == 1


@pytest.mark.parametrize("implicit", [True, False])
def test_a_certificate_that_is_not_trusted_or_for_another_name_is_rejected(
    server_tls: ssl.SSLContext, trusting: ssl.SSLContext, *, implicit: bool
) -> None:
    scheme = "smtps" if implicit else "smtp"
    with smtp_server.running(server_tls, implicit_tls=implicit) as server:
        assert send(f"{scheme}://localhost:{server.port}").error == "tls"
        assert send(f"{scheme}://127.0.0.1:{server.port}", trusting).error == "tls"
        assert server.mails == []


def test_without_encryption_only_if_the_operator_says_so(plain: smtp_server.SmtpServer) -> None:
    assert send(unencrypted(plain)).accepted
    assert not plain.mails[0].tls


@pytest.mark.parametrize(
    ("command", "text", "reply"),
    [
        ("RCPT", "550 no such user", SmtpReply(code=550, permanent=True)),
        ("RCPT", "450 greylisted", SmtpReply(code=450)),
        (".", "554 spam", SmtpReply(code=554, permanent=True)),
        (".", "451 try later", SmtpReply(code=451)),
        ("MAIL", "553 sender not allowed", SmtpReply(code=553)),
        (".", "", SmtpReply(error="protocol")),
    ],
)
def test_only_a_rejected_recipient_or_message_is_permanent(
    plain: smtp_server.SmtpServer, command: str, text: str, reply: SmtpReply
) -> None:
    plain.replies = {command: [text]}
    assert send(unencrypted(plain)) == reply


def test_wrong_credentials_can_be_corrected_by_the_operator(
    server_tls: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    with smtp_server.running(server_tls, implicit_tls=True) as server:
        server.replies = {"AUTH": ["535 wrong"]}
        reply = send(f"smtps://user:pw@localhost:{server.port}", trusting)
    assert reply == SmtpReply(code=535)


def test_a_farewell_that_fails_changes_nothing(plain: smtp_server.SmtpServer) -> None:
    plain.replies = {"QUIT": [""]}
    assert send(unencrypted(plain)).accepted


def test_a_server_that_sends_a_byte_now_and_then_is_given_up(
    plain: smtp_server.SmtpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.emails.smtp.TOTAL_TIMEOUT", 0.5)
    plain.greeting_delay = 0.2
    started = time.monotonic()
    assert send(unencrypted(plain)).error == "timeout"
    assert time.monotonic() - started < 2.5


def test_a_slow_farewell_ends_with_the_deadline_of_the_message(
    plain: smtp_server.SmtpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.emails.smtp.TOTAL_TIMEOUT", 0.5)
    plain.farewell_delay = 0.4
    started = time.monotonic()
    assert send(unencrypted(plain)).accepted
    assert time.monotonic() - started < 2.0


def test_a_silent_server_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.emails.smtp.STEP_TIMEOUT", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"smtp://127.0.0.1:{silent.getsockname()[1]}?starttls=never"
        assert send(url).error == "timeout"


def test_a_name_that_cannot_be_resolved_in_time_is_a_timeout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("worker.emails.smtp.TOTAL_TIMEOUT", 0.3)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(3))
    started = time.monotonic()
    assert send("smtp://slow.example?starttls=never").error == "timeout"
    assert time.monotonic() - started < 2


def test_no_server_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert send(f"smtp://127.0.0.1:{port}?starttls=never").error == "unreachable"


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com",
        "smtp.example.com",
        "smtp://",
        "smtp://user:pw@example.com?starttls=never",
        "smtp://example.com?starttls=never&other=1",
        "smtp://example.com:99999",
    ],
)
def test_other_urls_are_rejected(url: str) -> None:
    with pytest.raises(ValueError):
        SmtpServer.parse(url)


def test_the_password_is_never_shown() -> None:
    assert "hunter2" not in repr(SmtpServer.parse("smtps://user:hunter2@example.com"))
