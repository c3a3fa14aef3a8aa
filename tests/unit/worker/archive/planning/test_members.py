"""Which names the members of an archive get."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from common.sources.files import SourceFile
from worker.archive.planning.archive_plan import make_archive_plan
from worker.archive.planning.layout import PartSizes
from worker.archive.planning.members import name_members, requested_entries


def source_file(file_id: int, name: str = "report.pdf") -> SourceFile:
    return SourceFile(
        file_id=file_id,
        origin=f"s3://files/{file_id}",
        name=name,
        size=1000,
        etag=f'"{file_id}"',
        modified=datetime(2026, 1, 2, tzinfo=UTC),
        location=("files", str(file_id)),
    )


def named(*requested: tuple[int, str | None]) -> list[str]:
    file_ids, paths = zip(*requested, strict=True)
    files = [source_file(file_id) for file_id in dict.fromkeys(file_ids)]
    return [member.name for member in name_members(requested_entries(file_ids, paths), files)]


def test_files_without_paths_keep_their_names_at_the_top() -> None:
    assert named((1, None), (2, None)) == ["report.pdf", "report (2).pdf"]


def test_a_path_that_ends_in_a_slash_is_a_folder_for_the_files_own_name() -> None:
    assert named((1, "a/"), (2, "a/"), (3, "b/"), (4, "a/report.pdf")) == [
        "a/report.pdf",
        "a/report (2).pdf",
        "b/report.pdf",
        "a/report (3).pdf",
    ]


def test_a_file_can_have_several_paths() -> None:
    entries = requested_entries([7, 8, 7], ["a/x.pdf", None, "b/x.pdf"])
    members = name_members(entries, [source_file(7), source_file(8)])
    assert [(m.file.file_id, m.copy, m.name) for m in members] == [
        (7, 0, "a/x.pdf"),
        (8, 0, "report.pdf"),
        (7, 1, "b/x.pdf"),
    ]


def test_entries_of_missing_files_are_left_out() -> None:
    entries = requested_entries([7, 8, 7], ["a/", "b/", "c/"])
    assert [m.name for m in name_members(entries, [source_file(8)])] == ["b/report.pdf"]


def test_a_name_of_the_source_never_makes_a_folder() -> None:
    entries = requested_entries([1, 2], ["reports/", None])
    files = [source_file(1, "Q1/Q2.csv"), source_file(2, "../x.csv")]
    assert [m.name for m in name_members(entries, files)] == ["reports/Q1_Q2.csv", "x.csv"]


def test_ten_thousand_files_in_a_thousand_folders_are_planned_within_seconds() -> None:
    count = 10_000
    files = [source_file(file_id) for file_id in range(count)]
    paths = [f"year {i % 10}/customer {i % 1000}/" for i in range(count)]
    started = time.process_time()
    members = name_members(requested_entries(range(count), paths), files)
    plan = make_archive_plan(members, [], bucket="b", part_sizes=PartSizes(), can_copy=True)
    # A quadratic step would take minutes.
    assert time.process_time() - started < 10
    assert len({member.name for member in members}) == count
    assert members[1000].name == "year 0/customer 0/report (2).pdf"
    assert len(plan.plan.items) == count + 1
