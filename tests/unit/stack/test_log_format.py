"""How `make up` shows log lines on a terminal."""

from __future__ import annotations

import json

import pytest

from stack.log_format import readable


def test_a_json_line_becomes_level_event_and_fields_without_its_time() -> None:
    line = json.dumps({"event": "job done", "level": "info", "timestamp": "…", "job_id": "a1"})
    assert readable(line) == "info     job done  job_id=a1"


def test_a_traceback_keeps_its_lines() -> None:
    line = json.dumps({"event": "oops", "level": "error", "exception": "Traceback:\n  x"})
    assert readable(line).splitlines() == ["error    oops", "Traceback:", "  x"]


@pytest.mark.parametrize("line", ["plain text", '{"not": "a log line"}', "[1]", "17", "{broken"])
def test_any_other_line_is_unchanged(line: str) -> None:
    assert readable(line) == line
