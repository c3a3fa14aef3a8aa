"""The planner, with small sizes so that thousands of layouts take no time."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from worker.archive.planning.layout import (
    GIB,
    MAX_WRITTEN_PART_SIZE,
    MIB,
    ByteSpan,
    Item,
    PartKind,
    PartSizes,
    SpanKind,
)
from worker.archive.planning.plan import Plan, PlanError, make_plan

SMALL = PartSizes(min_part_size=100, write_size=120, copy_size=400)


def items(sizes: list[int], *, copyable: list[bool] | bool = True) -> list[Item]:
    flags = copyable if isinstance(copyable, list) else [copyable] * len(sizes)
    return [
        Item(raw_name=f"f{i}".encode(), size=size, time=315_532_800, copyable=flag)
        for i, (size, flag) in enumerate(zip(sizes, flags, strict=True))
    ]


def spans(plan: Plan) -> list[ByteSpan]:
    return [span for part in plan.parts for span in part.spans]


def assert_valid(plan: Plan, part_sizes: PartSizes) -> None:
    assert [part.number for part in plan.parts] == list(range(1, len(plan.parts) + 1))
    offset = 0
    for part in plan.parts:
        assert part.offset == offset
        offset += part.size
        if part is not plan.parts[-1]:
            assert part_sizes.min_part_size <= part.size
        if part.kind is PartKind.WRITE:
            assert part.size <= part_sizes.write_size + 2 * part_sizes.min_part_size
        else:
            (span,) = part.spans
            assert span.kind is SpanKind.DATA
            assert plan.items[span.item].copyable
            assert plan.items[span.item].size > part_sizes.min_part_size
            assert span.length <= max(part_sizes.copy_size, 2 * part_sizes.min_part_size)
    assert offset == plan.size
    expected: list[tuple[SpanKind, int, int]] = []
    for index, item in enumerate(plan.items):
        expected.append((SpanKind.HEADER, index, item.header_size))
        if item.size:
            expected.append((SpanKind.DATA, index, item.size))
    expected.append((SpanKind.DIRECTORY, -1, plan.directory_size))
    assert joined(spans(plan)) == expected


def joined(row: list[ByteSpan]) -> list[tuple[SpanKind, int, int]]:
    result: list[tuple[SpanKind, int, int]] = []
    for span in row:
        if result and result[-1][:2] == (span.kind, span.item):
            assert span.start == result[-1][2]
            result[-1] = (span.kind, span.item, span.start + span.length)
        else:
            assert span.start == 0
            result.append((span.kind, span.item, span.length))
    return result


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.tuples(
            st.one_of(st.integers(0, 150), st.integers(95, 310), st.integers(0, 3000)),
            st.booleans(),
        ),
        max_size=30,
    )
)
def test_every_layout_is_complete_in_order_and_within_the_limits(
    files: list[tuple[int, bool]],
) -> None:
    plan = make_plan(items([s for s, _ in files], copyable=[c for _, c in files]), SMALL)
    assert_valid(plan, SMALL)


def test_the_same_items_give_the_same_plan() -> None:
    files = items([10, 5000, 20, 300, 0])
    assert make_plan(files, SMALL) == make_plan(files, SMALL)


def through_worker(plan: Plan) -> int:
    return sum(part.size for part in plan.parts if part.kind is PartKind.WRITE)


def test_five_mebibytes_of_a_large_file_pass_through_the_worker_to_fill_up_its_header() -> None:
    plan = make_plan(items([500_000_000] * 4), PartSizes())
    assert through_worker(plan) == 4 * 5 * MIB + plan.directory_size


@pytest.mark.parametrize("size", [6_000_000, 10_000_000])
def test_every_other_file_below_ten_mebibytes_is_copied_as_a_whole(size: int) -> None:
    plan = make_plan(items([size] * 6), PartSizes())
    assert [part.kind for part in plan.parts] == [PartKind.WRITE, PartKind.COPY] * 3 + [
        PartKind.WRITE
    ]
    copied = [span for part in plan.parts if part.kind is PartKind.COPY for span in part.spans]
    assert [(span.item, span.start, span.length) for span in copied] == [
        (item, 0, size) for item in (1, 3, 5)
    ]


def test_a_small_file_between_two_large_ones_is_written_with_the_start_of_the_next() -> None:
    plan = make_plan(items([1000, 7, 1000]), SMALL)
    part = next(part for part in plan.parts if any(span.item == 1 for span in part.spans))
    assert [(s.kind, s.item) for s in part.spans] == [
        (SpanKind.HEADER, 1),
        (SpanKind.DATA, 1),
        (SpanKind.HEADER, 2),
        (SpanKind.DATA, 2),
    ]
    assert part.size == SMALL.min_part_size


def test_parts_grow_until_their_number_fits() -> None:
    part_sizes = PartSizes(min_part_size=100, write_size=120, copy_size=400, max_parts=40)
    plan = make_plan(items([100_000, 100_000]), part_sizes)
    assert 10 < len(plan.parts) <= 40
    sizes = [part.size for part in plan.parts if part.kind is PartKind.COPY]
    assert max(sizes) > part_sizes.copy_size


def test_more_large_files_than_parts_cannot_be_planned() -> None:
    with pytest.raises(PlanError):
        make_plan(items([1000] * 50), replace(SMALL, max_parts=40))


@given(st.lists(st.integers(0, 900), max_size=30))
def test_equal_parts_have_equal_sizes_and_contain_everything(sizes: list[int]) -> None:
    part_sizes = PartSizes(min_part_size=100, write_size=120, copy_size=400, equal_parts=True)
    plan = make_plan(items(sizes), part_sizes)
    assert {part.kind for part in plan.parts} == {PartKind.WRITE}
    assert {part.size for part in plan.parts[:-1]} <= {part_sizes.write_size}
    assert 0 < plan.parts[-1].size <= part_sizes.write_size
    assert sum(part.size for part in plan.parts) == plan.size
    assert joined(spans(plan)) == joined(spans(make_plan(items(sizes, copyable=False), SMALL)))


def test_six_thousand_large_files_fit_with_copies() -> None:
    plan = make_plan(items([6 * MIB] * 6_000), PartSizes())
    assert len(plan.parts) <= 10_000
    assert PartKind.COPY in {part.kind for part in plan.parts}


@pytest.mark.parametrize("sizes", [[6 * MIB] * 12_000, [12 * MIB] * 6_000], ids=len)
def test_more_large_files_than_parts_are_written_within_the_memory_limit(
    sizes: list[int],
) -> None:
    with pytest.raises(PlanError):
        make_plan(items(sizes), PartSizes())
    plan = make_plan(items(sizes, copyable=False), PartSizes())
    assert len(plan.parts) <= 10_000
    assert (
        max(part.size for part in plan.parts)
        <= MAX_WRITTEN_PART_SIZE + 2 * PartSizes().min_part_size
    )


def test_files_that_need_larger_parts_than_memory_allows_cannot_be_planned() -> None:
    with pytest.raises(PlanError):
        make_plan(items([GIB] * 300, copyable=False), PartSizes())


def test_an_archive_of_five_tebibytes_fits_into_one_upload() -> None:
    plan = make_plan(items([GIB * 512] * 10), PartSizes())
    assert len(plan.parts) <= 10_000
    assert plan.size > 5 * 1024 * GIB


def test_an_archive_without_files_consists_of_its_end_record() -> None:
    plan = make_plan([], PartSizes())
    assert (plan.size, len(plan.parts)) == (22, 1)
    assert len(plan.directory([])) == 22


def test_offsets_are_those_of_the_headers() -> None:
    plan = make_plan(items([5, 5000, 70]), SMALL)
    for part in plan.parts:
        offset = part.offset
        for span, following in pairwise((*part.spans, None)):
            assert span is not None
            if span.kind is SpanKind.HEADER:
                assert plan.offsets[span.item] == offset
            offset += span.length
            assert following is None or offset < part.offset + part.size
