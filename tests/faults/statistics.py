"""Statistics of measured times."""

from __future__ import annotations

import math
from collections.abc import Sequence


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the nearest-rank percentile; of fewer than 100 values the 99th is the maximum."""
    return sorted(values)[math.ceil(len(values) * percent / 100) - 1]
