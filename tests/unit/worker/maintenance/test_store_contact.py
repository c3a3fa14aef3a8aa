"""When a sweeper believes that a silent worker is dead."""

from __future__ import annotations

from worker.maintenance.store_contact import StoreContact


class Clocks:
    """A monotonic clock, and the store's clock beside it."""

    def __init__(self) -> None:
        self.now = 100.0
        self.difference = 1_000_000.0

    def contact(self) -> StoreContact:
        return StoreContact(max_gap=2.0, grace=10.0, clock=lambda: self.now)

    def respond(self, contact: StoreContact, after: float) -> bool:
        self.now += after
        contact.responded(self.now + self.difference)
        return contact.reliable

    def trusted(self) -> StoreContact:
        contact = self.contact()
        for _ in range(11):
            self.respond(contact, 1.0)
        assert contact.reliable
        return contact


def test_a_new_sweeper_waits_for_one_lease() -> None:
    clocks = Clocks()
    contact = clocks.contact()
    assert not contact.reliable
    assert [clocks.respond(contact, 1.0) for _ in range(11)] == [False] * 9 + [True] * 2


def test_a_slow_response_starts_the_grace_again() -> None:
    clocks = Clocks()
    contact = clocks.trusted()
    assert not clocks.respond(contact, 2.5)
    assert [clocks.respond(contact, 1.0) for _ in range(10)] == [False] * 9 + [True]


def test_a_lost_contact_starts_the_grace_again() -> None:
    clocks = Clocks()
    contact = clocks.trusted()
    contact.lost()
    assert not clocks.respond(contact, 1.0)


def test_a_jump_of_the_clock_of_the_store_starts_the_grace_again() -> None:
    for jump in (86_400.0, -86_400.0):
        clocks = Clocks()
        contact = clocks.trusted()
        clocks.difference += jump
        assert not clocks.respond(contact, 1.0)
        assert [clocks.respond(contact, 1.0) for _ in range(10)] == [False] * 9 + [True]


def test_clocks_that_drift_slowly_change_nothing() -> None:
    clocks = Clocks()
    contact = clocks.trusted()
    for _ in range(100):
        clocks.difference += 0.1
        assert clocks.respond(contact, 1.0)
