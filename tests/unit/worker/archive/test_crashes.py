"""Random layouts, and a worker that is killed before or after any call.

``ARCHIVE_EXAMPLES`` sets the number of layouts.
"""

from __future__ import annotations

import itertools
import os
from datetime import timedelta
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.errors import CancelRequested, FileChanged, NetworkError
from tests.support.crashes import Crash
from tests.support.small_catalog import CONCURRENCY, SmallCatalog

pytestmark = pytest.mark.usefixtures("narrow")

EXAMPLES = int(os.environ.get("ARCHIVE_EXAMPLES", "300"))
#: Calls of the build's threads, which may fail.
BUILDING = {
    "create_multipart_upload",
    "read_into",
    "get_object",
    "upload_part_copy",
    "upload_part",
    "complete_multipart_upload",
}

many = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
sizes = st.lists(
    st.one_of(st.integers(0, 60), st.integers(95, 320), st.integers(300, 2500)),
    min_size=1,
    max_size=12,
)


@many
@given(sizes, st.booleans(), st.booleans())
def test_any_layout_becomes_a_correct_archive_without_remains(
    file_sizes: list[int], can_copy: bool, returns_checksums: bool
) -> None:
    catalog = SmallCatalog(file_sizes, returns_checksums=returns_checksums)
    catalog.assert_correct(catalog.run(can_copy=can_copy))
    assert catalog.control.done == sum(file_sizes)
    assert set(catalog.control.reports) == set(catalog.files)


@many
@given(
    sizes,
    st.lists(st.tuples(st.integers(1, 60), st.booleans()), min_size=1, max_size=3),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
def test_an_archive_survives_crashes_at_any_call(
    file_sizes: list[int],
    crashes: list[tuple[int, bool]],
    forgets_completed: bool,
    returns_checksums: bool,
    manifest: bool,
) -> None:
    catalog = SmallCatalog(file_sizes, returns_checksums=returns_checksums)
    catalog.storage.forgets_completed = forgets_completed
    reference = SmallCatalog(file_sizes, returns_checksums=returns_checksums)
    expected = reference.run(manifest=manifest)
    transfers = _transfers(reference.storage.calls)
    done = 0
    for at, before in crashes:
        catalog.storage.restart(crash_at=at, before=before)
        try:
            artifact = catalog.run(manifest=manifest)
        except Crash:
            done += _transfers(catalog.storage.calls)
            continue
        catalog.assert_correct(artifact)
        return
    catalog.storage.restart()
    artifact = catalog.run(manifest=manifest)
    catalog.assert_correct(artifact)
    assert catalog.archive(artifact) == reference.archive(expected)
    assert artifact.etag == expected.etag
    assert catalog.control.done == sum(file_sizes)
    repeated = done + _transfers(catalog.storage.calls) - transfers
    # As many copies and as many uploads can be in flight.
    assert repeated <= len(crashes) * CONCURRENCY * 2


def test_an_archive_with_a_manifest_is_resumed_whichever_parts_are_missing() -> None:
    def interrupt(name: str) -> None:
        if name == "complete_multipart_upload":
            raise NetworkError

    file_sizes = [300, 50]
    reference = SmallCatalog(file_sizes)
    expected = reference.archive(reference.run(manifest=True))
    parts = range(1, 1 + _transfers(reference.storage.calls))
    for missing in itertools.combinations(parts, 2):
        catalog = SmallCatalog(file_sizes)
        catalog.storage.hook = interrupt
        with pytest.raises(NetworkError):
            catalog.run(manifest=True)
        catalog.checkpoint.records = [
            record for record in catalog.checkpoint.records if _part_number(record) not in missing
        ]
        catalog.storage.restart()
        catalog.storage.hook = lambda _: None
        artifact = catalog.run(manifest=True)
        assert catalog.archive(artifact) == expected, f"without the parts {missing}"
        assert catalog.control.done == sum(file_sizes)
        catalog.assert_nothing_left_behind()


def _part_number(record: bytes) -> int | None:
    kind, _, number, *_ = orjson.loads(record)
    return number if kind == "part" else None


@pytest.mark.parametrize("lost", [["upload"], ["plan", "upload"]])
def test_an_archive_survives_an_attempt_that_began_while_the_job_store_was_unavailable(
    lost: list[str],
) -> None:
    file_sizes = [3000, 50, 3000, 70]
    catalog, reference = SmallCatalog(file_sizes), SmallCatalog(file_sizes)
    catalog.storage.restart(crash_at=14)
    with pytest.raises(Crash):
        catalog.run()
    records = catalog.checkpoint.records
    catalog.checkpoint.records = []
    catalog.storage.restart(crash_at=24)
    with pytest.raises(Crash):
        catalog.run()
    new = [each for each in catalog.checkpoint.records if orjson.loads(each)[0] not in lost]
    assert new
    catalog.checkpoint.records = [*records, *new]
    catalog.storage.restart()
    assert catalog.archive(catalog.run()) == reference.archive(reference.run())


@pytest.mark.parametrize("fate", ["deleted", "too old"])
def test_an_archive_made_by_a_single_request_is_not_resumed(fate: str) -> None:
    # One that is still there, and young enough, is found before.
    catalog = SmallCatalog([10])
    artifact = catalog.run(defer=lambda _: None)  # The log stays.
    assert catalog.storage.calls.count("put_object") == 1
    assert catalog.checkpoint.records
    stored = catalog.storage.objects["archives", artifact.key]
    if fate == "deleted":
        del catalog.storage.objects["archives", artifact.key]
    stored.modified -= timedelta(days=30)
    catalog.assert_correct(catalog.run())
    assert catalog.storage.objects["archives", artifact.key].modified > stored.modified


def _transfers(calls: list[str]) -> int:
    return sum(name in ("upload_part", "upload_part_copy") for name in calls)


@many
@given(sizes, st.integers(1, 60), st.sampled_from([CancelRequested, FileChanged]))
def test_a_job_that_ends_at_any_call_leaves_nothing_behind(
    file_sizes: list[int], at: int, error: type[Exception]
) -> None:
    catalog = SmallCatalog(file_sizes)

    def stop(name: str) -> None:
        if len(catalog.storage.calls) >= at and name in BUILDING:
            catalog.storage.hook = lambda _: None
            raise error

    catalog.storage.hook = stop
    try:
        artifact = catalog.run()
    except error:
        catalog.assert_nothing_left_behind()
    else:
        catalog.assert_correct(artifact)


@many
@given(sizes, st.data())
def test_a_rebuild_after_changes_has_the_bytes_of_a_first_build(
    file_sizes: list[int], data: Any
) -> None:
    catalog = SmallCatalog(file_sizes)
    catalog.run()
    changed = data.draw(st.sets(st.sampled_from(sorted(catalog.files)), max_size=3))
    fresh = SmallCatalog(file_sizes)
    for file_id in changed:
        content = data.draw(st.binary(max_size=600))
        for each in (catalog, fresh):
            each.files[file_id] = content
            each.storage.add_object(
                "files", str(file_id), content, metadata={"filename": f"{file_id}.bin"}
            )
    artifact, expected = catalog.run(), fresh.run()
    catalog.assert_correct(artifact)
    assert (artifact.key, artifact.etag) == (expected.key, expected.etag)
    assert catalog.archive(artifact) == fresh.archive(expected)
