"""The event parser: examples and edge cases of the HTML standard."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longhaul_client.sse import MAX_LENGTH, Event, EventParser, EventTooLong


def parse(*chunks: bytes) -> list[Event]:
    parser = EventParser()
    return [event for chunk in chunks for event in parser.feed(chunk)]


def test_an_event_has_its_type_data_and_id() -> None:
    stream = b"event: progress\nid: 7\ndata: {}\n\n"
    assert parse(stream) == [Event("progress", "{}", "7")]


def test_an_event_without_a_type_is_a_message() -> None:
    assert parse(b"data: a\n\n") == [Event("message", "a", "")]


def test_lines_of_data_are_joined_by_line_feeds() -> None:
    assert parse(b"data: YHOO\ndata: +2\ndata: 10\n\n") == [Event("message", "YHOO\n+2\n10", "")]


def test_only_one_space_after_the_colon_is_removed() -> None:
    assert [event.data for event in parse(b"data:test\n\ndata:  test\n\n")] == ["test", " test"]


def test_a_field_without_a_colon_has_an_empty_value() -> None:
    assert [event.data for event in parse(b"data\n\ndata\ndata\n\n")] == ["", "\n"]


def test_comments_and_unknown_fields_are_ignored() -> None:
    assert parse(b": keep-alive\n\nweather: fine\ndata: 1\n\n") == [Event("message", "1", "")]


def test_an_event_without_data_is_not_dispatched_but_sets_id_and_retry() -> None:
    parser = EventParser()
    assert list(parser.feed(b"event: nothing\nid: 3\nretry: 2000\n\n")) == []
    assert (parser.last_event_id, parser.retry) == ("3", 2000)


def test_an_id_applies_until_the_next_one_and_an_empty_one_clears_it() -> None:
    events = parse(b"id: 1\ndata: a\n\ndata: b\n\nid\ndata: c\n\n")
    assert [event.last_event_id for event in events] == ["1", "1", ""]


def test_an_id_with_a_nul_is_ignored() -> None:
    assert parse(b"id: 1\nid: 2\x003\ndata: a\n\n")[0].last_event_id == "1"


def test_an_incomplete_event_is_ignored_and_so_is_its_id() -> None:
    parser = EventParser()
    events = list(parser.feed(b"id: 1\ndata: whole\n\nid: 2\ndata: half\n"))
    assert [event.data for event in events] == ["whole"]
    assert parser.last_event_id == "1"


def test_a_retry_that_is_not_only_digits_is_ignored() -> None:
    parser = EventParser()
    assert list(parser.feed("retry: 1s\nretry: ²\n\n".encode())) == []
    assert parser.retry is None


def test_a_byte_order_mark_at_the_start_is_skipped() -> None:
    assert parse(b"\xef\xbb", b"\xbfdata: a\n\n") == [Event("message", "a", "")]


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_every_line_ending_of_the_standard_dispatches_immediately(end: bytes) -> None:
    assert parse(b"data: a" + end + end) == [Event("message", "a", "")]


STREAM = "\ufeffid: 1\r\ndata: Kyōto\r\rdata: b\n\r\n: c\r\ndata: d\r\ndata: e\r\n\r\n".encode()


@given(st.lists(st.integers(0, len(STREAM)), max_size=8))
def test_chunk_boundaries_do_not_matter(cuts: list[int]) -> None:
    boundaries = [0, *sorted(cuts), len(STREAM)]
    chunks = [STREAM[a:b] for a, b in pairwise(boundaries)]
    assert [event.data for event in parse(*chunks)] == ["Kyōto", "b", "d\ne"]


def test_a_line_that_exceeds_the_maximum_length_raises() -> None:
    with pytest.raises(EventTooLong):
        parse(b"data: " + b"x" * MAX_LENGTH, b"x")


def test_an_event_that_exceeds_the_maximum_length_raises() -> None:
    line = b"data: " + b"x" * (MAX_LENGTH // 4) + b"\n"
    with pytest.raises(EventTooLong):
        parse(*[line] * 5)
