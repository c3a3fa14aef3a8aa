"""When the webhook thread reads the state log."""

from __future__ import annotations

from unittest.mock import Mock

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from worker.webhooks import WebhookThread


def test_a_failed_take_over_is_not_repeated_in_every_step() -> None:
    failing = Mock(side_effect=RedisConnectionError("gone"))
    state_log = Mock(read=Mock(return_value=[]), claim_idle=failing)
    thread = WebhookThread(state_log, Mock(), Mock(), posts=Mock())
    with pytest.raises(RedisConnectionError):
        thread.schedule()
    thread.schedule()
    failing.assert_called_once()
