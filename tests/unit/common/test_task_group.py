"""Threads that work for a job, and what ends them."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Iterator

import pytest

from common.errors import CancelRequested, NetworkError
from common.object_storage import Cancelled
from common.task_group import TaskGroup
from tests.support.archives import RecordingControl
from worker.archive.composing.writing import MemoryBudget


def test_every_item_is_done_once_and_no_more_than_the_width_at_a_time() -> None:
    lock, now, most, done = threading.Lock(), 0, 0, []

    def step(item: int) -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.002)
        with lock:
            now -= 1
            done.append(item)

    TaskGroup(RecordingControl()).each(step, range(50), width=4)
    assert sorted(done) == list(range(50))
    assert most <= 4


def test_who_waits_for_the_next_item_keeps_nothing_of_the_last() -> None:
    class Item:
        pass

    alive: weakref.WeakSet[Item] = weakref.WeakSet()

    def made() -> Item:
        item = Item()
        alive.add(item)
        return item

    def items() -> Iterator[Item]:
        for _ in range(4):
            yield made()
        deadline = time.monotonic() + 5
        while alive and time.monotonic() < deadline:
            time.sleep(0.001)
        assert not alive

    TaskGroup(RecordingControl()).each(lambda _: time.sleep(0.01), items(), width=4)


def test_nothing_to_do_is_done_at_once() -> None:
    TaskGroup(RecordingControl()).each(lambda _: None, [], width=0)


def test_the_first_error_ends_the_others_and_is_raised() -> None:
    task_group = TaskGroup(RecordingControl())

    def step(item: int) -> None:
        if item == 3:
            raise NetworkError("three")
        task_group.cancellation.wait(30)

    started = time.monotonic()
    with pytest.raises(NetworkError, match="three"):
        task_group.each(step, range(10), width=4)
    assert time.monotonic() - started < 1


def test_an_error_of_the_items_is_raised() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise NetworkError("no more")

    with pytest.raises(NetworkError, match="no more"):
        TaskGroup(RecordingControl()).each(lambda _: None, items(), width=2)


def test_a_stop_of_the_control_ends_the_steps() -> None:
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
        task_group.each(step, [1], width=1)
    assert ended.is_set()


def test_a_call_gives_its_answer() -> None:
    assert TaskGroup(RecordingControl()).call(lambda: 42) == 42


def test_a_budget_makes_the_next_one_wait() -> None:
    task_group = TaskGroup(RecordingControl())
    budget = MemoryBudget(100, task_group.cancellation)
    budget.acquire(60)
    threading.Timer(0.1, lambda: budget.release(60)).start()
    started = time.monotonic()
    budget.acquire(60)
    assert time.monotonic() - started > 0.05
    task_group.cancellation.set()
    with pytest.raises(Cancelled):
        budget.acquire(60)


def test_more_than_the_whole_budget_is_given_to_one_alone() -> None:
    MemoryBudget(100, TaskGroup(RecordingControl()).cancellation).acquire(500)
