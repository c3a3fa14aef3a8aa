"""One client inside all limits does not disturb the others: a short version of ``make attack``.

How long polls take is measured on a quiet machine. Here, no poll may fail, and the memory has to
return.
"""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from bench.attack import environment
from bench.attacks import ATTACKS

SECONDS = 8
#: Through nginx, those that nginx does not shield the API from.
RUNS = [(attack, False) for attack in ATTACKS] + [
    ("hang up long polls", True),
    ("hold long polls", True),
    ("wait during restarts", True),
]


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("attack", "through_nginx"), RUNS)
def test_attacker_does_not_disturb_other_clients(
    tmp_path: Path, attack: str, through_nginx: bool
) -> None:
    with environment(tmp_path / "state", through_nginx=through_nginx) as running:
        result = running.measure(attack, SECONDS)
    assert result.times
    assert result.problems(max_p99=math.inf) == []
