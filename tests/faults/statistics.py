"""How measured times are summed up."""

from __future__ import annotations

import math
from collections.abc import Sequence


def percentile(values: Sequence[float], percent: int) -> float:
    """The nearest-rank percentile; of fewer than a hundred values the 99th is the largest."""
    return sorted(values)[math.ceil(len(values) * percent / 100) - 1]
