"""What the history recorder does besides recording: it deletes old jobs."""

from __future__ import annotations

from datetime import timedelta
from unittest.mock import Mock

import pytest

from common.history import HistoryWriter


@pytest.mark.parametrize("seconds", [0, -1])
def test_the_writer_never_deletes_jobs_of_now_or_later(seconds: int) -> None:
    engine = Mock()
    with pytest.raises(ValueError, match="older_than must be positive"):
        HistoryWriter(engine).delete_old(timedelta(seconds=seconds))
    engine.begin.assert_not_called()
