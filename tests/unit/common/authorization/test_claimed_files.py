"""AUTHORIZED_FILES_CLAIM: IDs and ranges in a token. What is malformed allows nothing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.authorization import ClaimedFiles


def allowed(value: Any, file_ids: range = range(1, 21)) -> list[int]:
    authorizer = ClaimedFiles("files")
    claims = authorizer.select_claims({"files": value, "sub": "alice"})
    return sorted(set(file_ids) - authorizer.denied("alice", claims, list(file_ids)))


@pytest.mark.parametrize(
    ("value", "files"),
    [
        ([3], [3]),
        ([3, 5, "7-9"], [3, 5, 7, 8, 9]),
        ("3, 5 7-9", [3, 5, 7, 8, 9]),
        (["1-4", "3-6", "6"], [1, 2, 3, 4, 5, 6]),
        (["2-2", "12"], [2, 12]),
        ([], []),
        ("", []),
        ("*", list(range(1, 21))),
    ],
)
def test_a_claim_lists_ids_and_ranges(value: Any, files: list[int]) -> None:
    assert allowed(value) == files


def test_every_file_means_negative_ids_too() -> None:
    authorizer = ClaimedFiles("files")
    claims = authorizer.select_claims({"files": "*"})
    assert authorizer.denied("alice", claims, [-5, 0, 2**53]) == frozenset()


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        5,
        {"1": True},
        [True],
        [1.0],
        [-1],
        [None],
        [[1]],
        ["1-"],
        ["-3"],
        ["5-3"],
        ["1-2-3"],
        ["0x1"],
        ["\u0661"],  # A digit of another script.
        ["1\n"],
        [1, "*x"],
        ["9" * 19],
        "1;2",
    ],
    ids=repr,
)
def test_a_malformed_claim_allows_nothing(value: Any) -> None:
    assert allowed(value) == []


def test_a_token_without_the_claim_allows_nothing() -> None:
    authorizer = ClaimedFiles("files")
    claims = authorizer.select_claims({"sub": "alice", "other": [1]})
    assert authorizer.denied("alice", claims, [1, 2]) == {1, 2}


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)).map(sorted), max_size=8))
def test_ranges_allow_exactly_their_members(ranges: list[list[int]]) -> None:
    members = {number for start, end in ranges for number in range(start, end + 1)}
    value = [f"{start}-{end}" for start, end in ranges]
    assert allowed(value, range(45)) == sorted(members)
