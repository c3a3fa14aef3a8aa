"""One whole system for all end-to-end tests of a process; those that break parts start their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from client import Longhaul
from stack.catalogue import SMALL
from stack.system import System


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with System(tmp_path_factory.mktemp("system"), files=SMALL) as running:
        yield running


@pytest.fixture
def longhaul(system: System, request: pytest.FixtureRequest) -> Iterator[Longhaul]:
    """A client whose user no other test has, so that limits and lists do not mix."""
    with Longhaul(system.base_url, user=request.node.name) as client:
        yield client
