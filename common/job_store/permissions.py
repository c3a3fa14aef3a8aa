"""Checks that the job store's user may run the commands that workers need besides the scripts.

A server whose access control list forbids them would lose the sweep, or the detection of dead
workers, without anyone noticing.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from redis.exceptions import NoPermissionError, RedisError

from common.job_store import keys
from common.job_store.cluster import node_of

if TYPE_CHECKING:
    from redis import Redis

#: By the name that the access control list uses. Both belong to the category @dangerous.
_COMMANDS: Final[dict[str, Callable[[Redis], object]]] = {
    "client|list": lambda node: node.client_list(client_id=["1"]),
    "info": lambda node: node.info("server"),
}


def missing_permissions(client: Redis) -> list[str]:
    """Return the commands that the user may not run; none while the job store is unavailable."""
    missing = []
    with suppress(RedisError):
        node = node_of(client, keys.WORKERS)
        for name, run in _COMMANDS.items():
            try:
                run(node)
            except NoPermissionError:
                missing.append(name)
    return missing
