"""One client inside all limits does not disturb the others: a short version of ``make attack``.

Figures of polls belong to a quiet machine. Here, no poll may fail, and the memory has to return.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.attack import ATTACKS, environment

#: Milliseconds. Other tests run at the same time.
MAX_P99 = 1_500.0


@pytest.mark.timeout(120)
@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("way", ["direct", "nginx"])
def test_an_attacker_does_not_disturb_other_clients(tmp_path: Path, attack: str, way: str) -> None:
    with environment(tmp_path / "state", through_nginx=way == "nginx") as running:
        result = running.measure(attack, 12)
    assert result.times
    assert result.problems(max_p99=MAX_P99) == []
