"""One client inside all limits does not disturb the others: a short version of ``make attack``.

How long polls take is measured on a quiet machine. Here, no poll may fail, and the memory has to
return.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest

from bench.attack import Environment, environment
from bench.attacks import ATTACKS

SECONDS = 5
#: Enough for polls after the first restart (``bench.attack.RESTART_EVERY``).
SECONDS_OF_RESTARTS = 8
#: It leaves processes that are still starting, whose memory grows, so it comes last.
RESTARTS = "wait during restarts"
DIRECT = [*(name for name in ATTACKS if name != RESTARTS), RESTARTS]
#: Those that nginx does not shield the API from.
THROUGH_NGINX = ["hang up long polls", "hold long polls", RESTARTS]


@pytest.fixture(scope="module")
def direct(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    with environment(tmp_path_factory.mktemp("direct"), through_nginx=False) as running:
        yield running


@pytest.fixture(scope="module")
def through_nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    with environment(tmp_path_factory.mktemp("nginx"), through_nginx=True) as running:
        yield running


def attack(running: Environment, name: str) -> None:
    result = running.measure(name, SECONDS_OF_RESTARTS if name == RESTARTS else SECONDS)
    assert result.times
    assert result.problems(max_p99=math.inf) == []


@pytest.mark.parametrize("name", DIRECT)
def test_attacker_does_not_disturb_other_clients(direct: Environment, name: str) -> None:
    attack(direct, name)


@pytest.mark.parametrize("name", THROUGH_NGINX)
def test_attacker_does_not_disturb_other_clients_of_nginx(
    through_nginx: Environment, name: str
) -> None:
    attack(through_nginx, name)
