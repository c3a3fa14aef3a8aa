"""A ticket grants permission to watch one job for a limited time."""

from __future__ import annotations

import time

import pytest
from itsdangerous import Signer, TimestampSigner

from common.job_tickets import JobTickets

JOB, OTHER = "a" * 36, "b" * 36


def test_a_ticket_identifies_its_user() -> None:
    tickets = JobTickets("secret")
    assert tickets.holder(tickets.issue(JOB, "alice"), JOB) == "alice"


def test_a_ticket_is_rejected_for_another_job() -> None:
    tickets = JobTickets("secret")
    assert tickets.holder(tickets.issue(JOB, "alice"), OTHER) is None


def test_a_ticket_signed_with_another_secret_is_rejected() -> None:
    assert JobTickets("secret").holder(JobTickets("other").issue(JOB, "alice"), JOB) is None


def test_a_ticket_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    tickets = JobTickets("secret", ttl=60)
    ticket = tickets.issue(JOB, "alice")
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 59)
    assert tickets.holder(ticket, JOB) == "alice"
    monkeypatch.setattr(time, "time", lambda: now + 62)
    assert tickets.holder(ticket, JOB) is None


@pytest.mark.parametrize("ticket", ["", "x", ".", "a.b.c", "é", "\0", "W10.x.y"])
def test_a_malformed_ticket_is_rejected(ticket: str) -> None:
    assert JobTickets("secret").holder(ticket, JOB) is None


def test_a_modified_ticket_is_rejected() -> None:
    tickets = JobTickets("secret")
    ticket = tickets.issue(JOB, "alice")
    # Except the last character: some of its bits are not used in base64.
    for place in range(len(ticket) - 1):
        changed = ticket[:place] + ("A" if ticket[place] != "A" else "B") + ticket[place + 1 :]
        assert tickets.holder(changed, JOB) is None


def test_tickets_are_compatible_with_itsdangerous() -> None:
    ticket = JobTickets("secret").issue(JOB, "alice")
    key = Signer("secret", salt="longhaul.live").derive_key()
    signer = TimestampSigner(key, key_derivation="none")
    assert signer.unsign(f"{JOB}.{ticket}") == f"{JOB}.YWxpY2U".encode()
