"""Results that all callers share for a moment."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from api.shared_result import MAX_AGE, SharedResult


def test_callers_that_arrive_meanwhile_share_an_error_as_well() -> None:
    calls = 0
    arrived = threading.Barrier(10)

    def fail() -> int:
        nonlocal calls
        calls += 1
        raise ConnectionError("gone")

    result = SharedResult(fail)

    def call() -> str:
        arrived.wait(10)
        with pytest.raises(ConnectionError) as caught:
            result.get()
        return str(caught.value)

    with ThreadPoolExecutor(10) as pool:
        assert {future.result() for future in [pool.submit(call) for _ in range(10)]} == {"gone"}
    assert calls == 1


def test_an_error_is_forgotten_as_soon_as_a_result() -> None:
    now, is_gone = [0.0], [True, False]

    def read() -> int:
        if is_gone.pop(0):
            raise ConnectionError("gone")
        return 7

    result = SharedResult(read, clock=lambda: now[0])
    for _ in range(3):
        with pytest.raises(ConnectionError):
            result.get()
    now[0] += MAX_AGE
    assert [result.get(), result.get()] == [7, 7]
