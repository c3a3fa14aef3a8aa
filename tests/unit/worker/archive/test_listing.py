"""Listings of more objects than one run reads."""

from __future__ import annotations

from typing import Any, cast

import pytest

from tests.support.fake_s3 import FakeS3
from worker.archive.listing import pages_below

KEYS = {f"archives/{number:02x}000000/archive.zip" for number in range(256)}


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch) -> FakeS3:
    monkeypatch.setattr("worker.archive.listing.PAGE_SIZE", 10)
    storage = FakeS3()
    for key in (*KEYS, "archives-of-others", "a", "z"):
        storage.add_object("archives", key, b"x")
    return storage


def listed(storage: FakeS3) -> set[str]:
    pages = pages_below(cast("Any", storage), "archives", "archives/")
    return {entry.key for page in pages for entry in page}


@pytest.mark.parametrize("start", ["00000000", "00000001", "7f000000", "7f123456", "ffffffff"])
def test_all_objects_are_listed_from_any_start(
    storage: FakeS3, monkeypatch: pytest.MonkeyPatch, start: str
) -> None:
    monkeypatch.setattr("worker.archive.listing.secrets.token_hex", lambda _: start)
    assert listed(storage) == KEYS
    assert len(storage.calls) <= 28


def test_several_runs_list_what_one_cannot(
    storage: FakeS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.archive.listing.MAX_PAGES", 3)
    assert len(listed(storage)) <= 30
    assert len(storage.calls) == 3
    found: set[str] = set()
    for _ in range(1_000):
        found |= listed(storage)
        if found == KEYS:
            return
    pytest.fail(f"{len(KEYS - found)} objects are never listed")


def test_an_empty_prefix_takes_two_requests() -> None:
    storage = FakeS3()
    assert listed(storage) == set()
    assert len(storage.calls) == 2
