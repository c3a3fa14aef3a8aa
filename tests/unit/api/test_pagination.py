"""Cursors: what a client may send, and what it gets back."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.errors import ValidationFailed
from api.pagination import decode_offset, decode_position, encode_cursor
from common.history.rows import to_datetime

JOB_ID = "00000000-0000-4000-8000-000000000000"
INVALID_POSITIONS: list[Any] = [
    [10**15, JOB_ID],
    [253_402_300_800_000, JOB_ID],
    [-1, JOB_ID],
    [True, JOB_ID],
    [1.0, JOB_ID],
    ["1", JOB_ID],
    [1, "x"],
    [1, ""],
    [1, f"{JOB_ID}\n"],
    [1, JOB_ID.replace("-", "")],
    [1, "\0"],
    [1, None],
    [1],
    [1, JOB_ID, 2],
    {"1": JOB_ID},
    None,
    7,
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children),
)


@pytest.mark.parametrize("position", INVALID_POSITIONS)
def test_position_is_rejected_unless_it_is_a_time_and_a_job_id(position: Any) -> None:
    with pytest.raises(ValidationFailed):
        decode_position(encode_cursor(position))


@pytest.mark.parametrize("created_at", [0, 1_790_000_000_123, 253_402_300_799_999])
def test_position_survives_encoding(created_at: int) -> None:
    assert decode_position(encode_cursor([created_at, JOB_ID])) == (created_at, JOB_ID)
    # The history converts it.
    assert to_datetime(created_at) is not None


@given(JSON | st.tuples(st.integers(0, 2**64 - 1), st.just(JOB_ID)))
def test_any_json_is_a_valid_position_or_rejected(value: Any) -> None:
    try:
        position = decode_position(encode_cursor(value))
    except ValidationFailed:
        return
    assert position is not None
    assert to_datetime(position[0]) is not None


@given(st.text(min_size=1) | st.binary(min_size=1).map(lambda b: base64.b64encode(b).decode()))
def test_any_text_is_a_valid_cursor_or_rejected(cursor: str) -> None:
    for decode in (decode_position, decode_offset):
        try:
            decode(cursor)
        except ValidationFailed:
            continue


@pytest.mark.parametrize("offset", [-1, True, 1.5, "1", [1], None])
def test_offset_is_rejected_unless_it_is_a_natural_number(offset: Any) -> None:
    with pytest.raises(ValidationFailed):
        decode_offset(base64.urlsafe_b64encode(orjson.dumps(offset)).decode())
