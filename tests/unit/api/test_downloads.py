"""Asking for files."""

from __future__ import annotations


def test_a_request_for_files_is_accepted_as_a_queued_job(post):
    answer = post(file_ids=[3, 1, 3])
    assert answer.status_code == 202
    assert answer.json["status"] == "queued"
    assert answer.json["totalFileIds"] == 2
