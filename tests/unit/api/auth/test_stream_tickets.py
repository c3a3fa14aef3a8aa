"""A ticket is good for watching one job, for a while."""

from __future__ import annotations

import time

import pytest
from itsdangerous import Signer, TimestampSigner

from api.auth.stream_tickets import StreamTickets

JOB, OTHER = "a" * 36, "b" * 36


def test_ticket_names_its_holder_for_its_job() -> None:
    tickets = StreamTickets("secret")
    assert tickets.holder(tickets.issue(JOB, "alice"), JOB) == "alice"


def test_ticket_is_refused_for_another_job() -> None:
    tickets = StreamTickets("secret")
    assert tickets.holder(tickets.issue(JOB, "alice"), OTHER) is None


def test_ticket_of_another_secret_is_refused() -> None:
    assert StreamTickets("secret").holder(StreamTickets("other").issue(JOB, "alice"), JOB) is None


def test_ticket_lapses(monkeypatch: pytest.MonkeyPatch) -> None:
    tickets = StreamTickets("secret", ttl=60)
    ticket = tickets.issue(JOB, "alice")
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 59)
    assert tickets.holder(ticket, JOB) == "alice"
    monkeypatch.setattr(time, "time", lambda: now + 62)
    assert tickets.holder(ticket, JOB) is None


@pytest.mark.parametrize("ticket", ["", "x", ".", "a.b.c", "é", "\0", "W10.x.y"])
def test_nonsense_is_no_ticket(ticket: str) -> None:
    assert StreamTickets("secret").holder(ticket, JOB) is None


def test_changed_ticket_is_refused() -> None:
    tickets = StreamTickets("secret")
    ticket = tickets.issue(JOB, "alice")
    # But for the last character, some bits of which mean nothing in base 64.
    for place in range(len(ticket) - 1):
        changed = ticket[:place] + ("A" if ticket[place] != "A" else "B") + ticket[place + 1 :]
        assert tickets.holder(changed, JOB) is None


def test_ticket_is_signed_as_the_library_signs_it() -> None:
    ticket = StreamTickets("secret").issue(JOB, "alice")
    key = Signer("secret", salt="longhaul.live").derive_key()
    signer = TimestampSigner(key, key_derivation="none")
    assert signer.unsign(f"{JOB}.{ticket}") == f"{JOB}.YWxpY2U".encode()
