"""The real system behind lines that can be cut, with everything that a soak needs to break it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from redis import Redis

from common.store.client import open_client
from stack.catalogue import CATALOGUE
from stack.system import System
from tests.faults.receiver import Receiver
from tests.s3_proxy import S3Proxy
from tests.tcp_proxy import TcpProxy

#: The first fifteen files: small enough for thousands of archives.
FILES: Final = CATALOGUE[:12]
#: Seconds that each piece of S3 traffic is held back, so that work is in flight when faults strike.
S3_DELAY: Final = 0.03

_SETTINGS: Final = {
    "WEBHOOK_SECRET": "whsec_bG9uZ2hhdWwtZmF1bHRzLXNlY3JldC0wMTIzNDU2Nzg5",
    "WEBHOOK_ALLOW_PRIVATE": "true",
    "CREATE_PER_MINUTE_USER": "100000",
    "CREATE_PER_MINUTE_IP": "100000",
    "REQUESTS_PER_MINUTE_IP": "1000000",
    "RETRY_BASE_DELAY": "0.5",
    "DRAIN_GRACE": "5",
    # A soak kills workers every few seconds: the same job may be struck many times.
    "MAX_RETRIES": "20",
}


class Arena:
    """One system; API and workers reach Valkey and S3 by ``valkey_line`` and ``s3_line`` only."""

    def __init__(self, state: Path, *, workers: int, seed: int) -> None:
        self._count = workers
        self.system = System(state, workers=0, files=FILES, env=_SETTINGS)
        self.receiver = Receiver()
        self.s3_faults = S3Proxy(_port(self.system.s3_endpoint), seed=seed)
        self.s3_line = TcpProxy(self.s3_faults.port)
        self.valkey_line = TcpProxy(_port(self.system.redis_url))
        self.system.env["S3_ENDPOINT_URL"] = f"http://127.0.0.1:{self.s3_line.port}"
        self.system.env["REDIS_URL"] = f"redis://127.0.0.1:{self.valkey_line.port}/0"
        #: Past the lines, for the referee's own eyes.
        self.redis: Redis = open_client(self.system.redis_url, patience=10)

    def __enter__(self) -> Self:
        self.system.start()
        for _ in range(self._count):
            self.system.add_worker()
        self.s3_line.delay(S3_DELAY)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.heal()
        self.system.stop()
        self.receiver.close()

    def heal(self) -> None:
        """All lines are up, nothing fails any more."""
        self.s3_faults.heal()
        self.s3_line.restore()
        self.s3_line.delay(S3_DELAY)
        self.valkey_line.restore()

    def restart(self, name: str, *, after: float = 0.0) -> None:
        """kill -9, then start again ``after`` so many seconds."""
        self.system.kill_part(name)
        time.sleep(after)
        self.system.start_part(name)


def wait_for(true: Callable[[], bool], what: str, timeout: float) -> float:
    """Seconds until ``true()``; AssertionError naming ``what`` after ``timeout``."""
    started = time.monotonic()
    while not true():
        assert time.monotonic() - started < timeout, f"{what}: not within {timeout:.0f} s"
        time.sleep(0.05)
    return time.monotonic() - started


def _port(url: str) -> int:
    return int(url.removesuffix("/0").rpartition(":")[2])
