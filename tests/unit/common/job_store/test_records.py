"""How requests and reports are stored."""

from __future__ import annotations

from dataclasses import fields

import orjson
import pytest

from common.job_store.jobs import JobStore
from common.job_store.queries import JobQueries
from common.job_store.records import decode_grant, decode_spec, encode_request
from common.jobs.model import FileGrant, FileReport, JobSpec, OnMissing, Priority, number_copies

GRANTS = [FileGrant(), FileGrant(claims='{"files": [1]}', forbidden=(2,))]
SPECS = [
    JobSpec(file_ids=(1,)),
    JobSpec(
        file_ids=(3, 1, 3),
        priority=Priority.HIGH,
        on_missing=OnMissing.SKIP,
        file_name="a.zip",
        callback_url="https://example.com/",
        metadata={"b": [1], "a": {"d": 1, "c": 2}},
        paths=("a/b", None, "c/"),
        manifest=True,
        expires_in=60,
    ),
    JobSpec(file_ids=(1, 2), paths=(None, "x")),
    JobSpec(file_ids=(1, 2), manifest=True),
    JobSpec(file_ids=(1,), expires_in=60),
    JobSpec(file_ids=(1,), expires_in=61),
    JobSpec(file_ids=(1,), metadata={"x": ',"paths":[],"manifest":false}'}),
]


@pytest.mark.parametrize("grant", GRANTS)
@pytest.mark.parametrize("spec", SPECS)
def test_a_request_is_read_as_it_was_stored(spec: JobSpec, grant: FileGrant) -> None:
    text, _ = encode_request(spec, grant)
    assert decode_spec(text) == spec
    assert decode_grant(text) == grant


def test_the_requests_above_use_every_member() -> None:
    assert all(getattr(SPECS[1], f.name) != getattr(SPECS[0], f.name) for f in fields(JobSpec))


def test_requests_that_differ_have_other_digests() -> None:
    digests = {encode_request(spec, grant)[1] for spec in SPECS for grant in GRANTS}
    assert len(digests) == len(SPECS) * len(GRANTS)


def test_a_request_without_new_members_is_stored_as_by_the_previous_release() -> None:
    """During an upgrade, APIs of both releases find each other's jobs by the digest."""
    spec = JobSpec(file_ids=(70000, 70001, 70002), metadata={"t": "123"})
    assert encode_request(spec, FileGrant()) == (
        '{"file_ids":[70000,70001,70002],"priority":"normal","on_missing":"fail",'
        '"file_name":null,"callback_url":null,"metadata":{"t":"123"}}',
        "a4a09903971f6823016e29ed06d17e4f88b774337f231da1538757d8515e3dcf",
    )


@pytest.mark.parametrize("spec", SPECS[1:4])
def test_the_previous_release_does_not_understand_a_request_with_paths_or_manifest(
    spec: JobSpec,
) -> None:
    """Its workers return such a job to the queue, because they look for ``file_ids``."""
    assert "file_ids" not in orjson.loads(encode_request(spec, FileGrant())[0])


def test_ids_are_numbered_by_occurrence() -> None:
    assert number_copies([5, 3, 5, 5]) == [(5, 0), (3, 0), (5, 1), (5, 2)]


def test_the_reports_on_several_paths_of_a_file_are_stored_side_by_side(
    jobs: JobStore, queries: JobQueries
) -> None:
    job = jobs.create("alice", SPECS[1]).job
    claim = jobs.claim(job.id, "worker")
    assert claim
    assert claim.spec == SPECS[1]
    first = FileReport(file_id=3, state="done", size=1, name="a/b")
    second = FileReport(file_id=3, copy=1, state="done", size=1, name="c/d")
    jobs.heartbeat(claim.lease, {}, [second, first])
    assert queries.files(job.id, (3, 1, 3)) == [
        first,
        FileReport(file_id=1, state="pending"),
        second,
    ]
