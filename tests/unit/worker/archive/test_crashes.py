"""Random layouts, and a worker that dies before or after any call to the store or the journal.

``ARCHIVE_EXAMPLES`` sets how many layouts are tried.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.errors import CancelRequested, FileChanged
from tests.support.crashes import Crash
from tests.support.small_catalog import WIDTH, World

pytestmark = pytest.mark.usefixtures("narrow")

EXAMPLES = int(os.environ.get("ARCHIVE_EXAMPLES", "300"))
#: Calls made by the threads of a build, where an error may strike.
BUILDING = {
    "create_multipart_upload",
    "read_into",
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
def test_any_layout_gives_the_right_archive_and_leaves_nothing(
    file_sizes: list[int], can_copy: bool, keeps_checksums: bool
) -> None:
    world = World(file_sizes, keeps_checksums=keeps_checksums)
    world.assert_right(world.run(can_copy=can_copy))
    assert world.control.done == sum(file_sizes)
    assert set(world.control.reports) == set(world.files)


@many
@given(
    sizes,
    st.lists(st.tuples(st.integers(1, 60), st.booleans()), min_size=1, max_size=3),
    st.booleans(),
    st.booleans(),
)
def test_an_archive_survives_crashes_at_any_call(
    file_sizes: list[int],
    crashes: list[tuple[int, bool]],
    forgets_completed: bool,
    keeps_checksums: bool,
) -> None:
    world = World(file_sizes, keeps_checksums=keeps_checksums)
    world.store.forgets_completed = forgets_completed
    undisturbed = World(file_sizes, keeps_checksums=keeps_checksums)
    expected = undisturbed.run()
    transfers = _transfers(undisturbed.store.calls)
    done = 0
    for at, before in crashes:
        world.store.revive(crash_at=at, before=before)
        try:
            artifact = world.run()
        except Crash:
            done += _transfers(world.store.calls)
            continue
        world.assert_right(artifact)
        return
    world.store.revive()
    artifact = world.run()
    world.assert_right(artifact)
    assert world.archive(artifact) == undisturbed.archive(expected)
    assert artifact.etag == expected.etag
    assert world.control.done == sum(file_sizes)
    redone = done + _transfers(world.store.calls) - transfers
    # A rung of a ladder is two transfers more; at most one piece of work for each thread is lost.
    assert redone <= len(crashes) * WIDTH * 3


def _transfers(calls: list[str]) -> int:
    return sum(name in ("upload_part", "upload_part_copy") for name in calls)


@many
@given(sizes, st.integers(1, 60), st.sampled_from([CancelRequested, FileChanged]))
def test_a_job_that_is_over_leaves_nothing_whenever_it_stops(
    file_sizes: list[int], at: int, error: type[Exception]
) -> None:
    world = World(file_sizes)

    def stop(name: str) -> None:
        if len(world.store.calls) >= at and name in BUILDING:
            world.store.hook = lambda _: None
            raise error

    world.store.hook = stop
    try:
        artifact = world.run()
    except error:
        world.assert_nothing_left()
    else:
        world.assert_right(artifact)


@many
@given(sizes, st.data())
def test_a_rebuild_after_changes_gives_the_bytes_of_a_fresh_build(
    file_sizes: list[int], data: Any
) -> None:
    world = World(file_sizes)
    world.run()
    changed = data.draw(st.sets(st.sampled_from(sorted(world.files)), max_size=3))
    fresh = World(file_sizes)
    for file_id in changed:
        content = data.draw(st.binary(max_size=600))
        for each in (world, fresh):
            each.files[file_id] = content
            each.store.place(
                "files", str(file_id), content, metadata={"filename": f"{file_id}.bin"}
            )
    artifact, expected = world.run(), fresh.run()
    world.assert_right(artifact)
    assert (artifact.key, artifact.etag) == (expected.key, expected.etag)
    assert world.archive(artifact) == fresh.archive(expected)
