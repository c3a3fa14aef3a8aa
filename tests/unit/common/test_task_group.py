"""Threads that work on one job, and what stops them."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from common.errors import CancelRequested, NetworkError
from common.object_storage import Cancelled
from common.task_group import TaskGroup
from tests.support.archives import RecordingControl


class Steps:
    """A step that records its items, and how often it ran at the same time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running = 0
        self.max_running = 0
        self.done: list[int] = []

    def __call__(self, item: int) -> None:
        with self._lock:
            self._running += 1
            self.max_running = max(self.max_running, self._running)
        time.sleep(0.002)
        with self._lock:
            self._running -= 1
            self.done.append(item)


def test_every_item_is_processed_once_with_limited_concurrency() -> None:
    step = Steps()
    TaskGroup(RecordingControl()).each(step, range(50), concurrency=4)
    assert sorted(step.done) == list(range(50))
    assert step.max_running <= 4


def test_groups_that_share_slots_are_limited_together() -> None:
    step, slots = Steps(), threading.Semaphore(3)

    def run(_: int) -> None:
        TaskGroup(RecordingControl(), slots=slots).each(step, range(20), concurrency=8)

    with ThreadPoolExecutor(4) as groups:
        list(groups.map(run, range(4)))
    assert sorted(step.done) == sorted([*range(20)] * 4)
    assert step.max_running == 3


def test_steps_that_fail_or_are_cancelled_return_their_slots() -> None:
    slots = threading.Semaphore(2)

    def fail(item: int) -> None:
        raise NetworkError(str(item))

    def items() -> Iterator[int]:
        yield 1
        raise NetworkError("no more")

    for step, values in ((fail, range(9)), (lambda _: None, items()), (lambda _: None, [])):
        with suppress(NetworkError):
            TaskGroup(RecordingControl(), slots=slots).each(step, values, concurrency=8)
    done: list[int] = []
    TaskGroup(RecordingControl(), slots=slots).each(done.append, range(9), concurrency=8)
    assert len(done) == 9
    assert all(slots.acquire(timeout=1) for _ in range(2))


def test_a_thread_that_waits_for_the_next_item_does_not_keep_the_last_one_in_memory() -> None:
    class Item:
        pass

    alive: weakref.WeakSet[Item] = weakref.WeakSet()

    def new_item() -> Item:
        item = Item()
        alive.add(item)
        return item

    def items() -> Iterator[Item]:
        for _ in range(4):
            yield new_item()
        deadline = time.monotonic() + 5
        while alive and time.monotonic() < deadline:
            time.sleep(0.001)
        assert not alive

    TaskGroup(RecordingControl()).each(lambda _: time.sleep(0.01), items(), concurrency=4)


def test_steps_that_wait_for_each_other_all_run_at_once() -> None:
    together = threading.Barrier(16, timeout=5)

    def step(_: int) -> None:
        together.wait()

    TaskGroup(RecordingControl()).each(step, range(64), concurrency=16)


def test_short_steps_run_on_few_threads() -> None:
    threads: set[int] = set()
    TaskGroup(RecordingControl()).each(
        lambda _: threads.add(threading.get_ident()), range(1_000), concurrency=64
    )
    assert len(threads) < 16


def test_no_items_are_no_error() -> None:
    TaskGroup(RecordingControl()).each(lambda _: None, [], concurrency=0)


def test_the_first_error_cancels_the_other_steps_and_is_raised() -> None:
    task_group = TaskGroup(RecordingControl())

    def step(item: int) -> None:
        if item == 3:
            raise NetworkError("three")
        task_group.cancellation.wait(30)

    started = time.monotonic()
    with pytest.raises(NetworkError, match="three"):
        task_group.each(step, range(10), concurrency=4)
    assert time.monotonic() - started < 1


def test_an_error_of_the_iterable_is_raised() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise NetworkError("no more")

    with pytest.raises(NetworkError, match="no more"):
        TaskGroup(RecordingControl()).each(lambda _: None, items(), concurrency=2)


def test_an_error_of_the_control_cancels_the_steps() -> None:
    control = RecordingControl()
    task_group = TaskGroup(control)
    ended = threading.Event()

    def step(_: int) -> None:
        control.stop_with = CancelRequested()
        try:
            task_group.cancellation.wait(30)
        except Cancelled:
            ended.set()
            raise

    with pytest.raises(CancelRequested):
        task_group.each(step, [1], concurrency=1)
    assert ended.is_set()


def test_call_returns_the_result() -> None:
    assert TaskGroup(RecordingControl()).call(lambda: 42) == 42


def test_an_error_is_raised_within_a_second_while_the_next_item_waits_for_a_running_step() -> None:
    task_group = TaskGroup(RecordingControl())
    slots = threading.Semaphore(2)

    def items() -> Iterator[int]:
        for item in range(100):
            while not slots.acquire(timeout=0.1):
                if task_group.cancellation.requested:
                    raise Cancelled
            yield item

    def step(_: int) -> None:
        # Until then a third thread waits for a slot of the two steps, which never release theirs.
        time.sleep(0.2)
        raise NetworkError("the storage is down")

    started = time.monotonic()
    with pytest.raises(NetworkError, match="the storage is down"):
        task_group.each(step, items(), concurrency=3)
    assert time.monotonic() - started < 1


def test_an_error_is_raised_within_a_second_if_another_step_ignores_the_cancellation() -> None:
    released = threading.Event()

    def step(item: int) -> None:
        if item == 1:
            raise NetworkError("the storage is down")
        released.wait(30)

    started = time.monotonic()
    with pytest.raises(NetworkError, match="the storage is down"):
        TaskGroup(RecordingControl()).each(step, range(2), concurrency=2)
    released.set()
    assert time.monotonic() - started < 1.5


def test_a_real_error_replaces_the_cancellation_that_it_causes() -> None:
    task_group = TaskGroup(RecordingControl())

    def step(item: int) -> None:
        if item == 0:
            raise NetworkError("the storage is down")
        task_group.cancellation.wait(30)

    for _ in range(50):
        task_group = TaskGroup(RecordingControl())
        with pytest.raises(NetworkError):
            task_group.each(step, range(8), concurrency=8)
