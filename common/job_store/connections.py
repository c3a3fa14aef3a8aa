"""Connections that are dropped when their server stops accepting writes, and keep time budgets.

Behind one address (a managed endpoint, a Kubernetes Service, a virtual IP) a connection that stays
open keeps talking to a demoted primary, while a new one reaches the current primary. So a reply
such as READONLY counts as a lost connection: redis-py closes it and, within the client's timeout,
sends the command again on a new one. That is safe, because the server has not executed it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from redis.connection import Connection, SSLConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.sentinel import SentinelManagedConnection, SentinelManagedSSLConnection

from common.job_store import time_budget
from common.job_store.errors import NOT_WRITABLE, code_of, describe

if TYPE_CHECKING:
    _Base = Connection
else:
    _Base = object


class ServerNotWritable(RedisConnectionError):
    """The server does not accept writes now. The command was not executed."""


class _WritableConnection(_Base):
    def _connect(self) -> Any:
        configured = self._socket_connect_timeout
        try:
            with time_budget.waiting(configured) as self._socket_connect_timeout:
                return super()._connect()  # type: ignore[no-untyped-call]
        finally:
            self._socket_connect_timeout = configured

    def read_response(self, *args: Any, **options: Any) -> Any:
        try:
            with time_budget.waiting(self.socket_timeout) as seconds:
                if seconds != self.socket_timeout:
                    options.setdefault("timeout", seconds)
                return super().read_response(*args, **options)
        except ResponseError as error:
            if code_of(error) not in NOT_WRITABLE:
                raise
            self.disconnect()  # type: ignore[no-untyped-call]
            raise ServerNotWritable(describe(error)) from error


class WritableConnection(_WritableConnection, Connection):
    """A plain TCP connection."""


class WritableSSLConnection(_WritableConnection, SSLConnection):
    """A TLS connection."""


class WritableSentinelConnection(_WritableConnection, SentinelManagedConnection):
    """A TCP connection to the primary that the Sentinels name."""


class WritableSentinelSSLConnection(_WritableConnection, SentinelManagedSSLConnection):
    """A TLS connection to the primary that the Sentinels name."""
