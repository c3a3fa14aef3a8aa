"""The real system behind proxies that can break its connections."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import libfaketime
from redis import Redis

from common.job_store.client import open_client
from stack.sample_catalog import CATALOG
from stack.system import System
from tests.faults.webhook_receiver import HoldableReceiver
from tests.support.s3_proxy import S3Proxy
from tests.support.tcp_proxy import TcpProxy

#: Small enough for thousands of archives; the largest is copied by the storage itself.
FILES: Final = CATALOG[:10]
#: Seconds by which S3 traffic is delayed, so that jobs are running when a fault is injected.
S3_DELAY: Final = 0.02

_SETTINGS: Final = {
    "WEBHOOK_SECRET": "whsec_bG9uZ2hhdWwtZmF1bHRzLXNlY3JldC0wMTIzNDU2Nzg5",
    "WEBHOOK_ALLOW_PRIVATE": "true",
    "CREATE_PER_MINUTE_USER": "100000",
    "CREATE_PER_MINUTE_IP": "100000",
    "REQUESTS_PER_MINUTE_IP": "1000000",
    "DRAIN_GRACE": "5",
    # Longer than the job store's clock jumps.
    "JOB_TTL": "604800",
    "ARCHIVE_TTL": "604800",
}
#: Shifts the wall clock of one process while it runs.
_FAKE_CLOCK: Final = Path(libfaketime.__file__).with_name("vendor") / (
    "libfaketime/src/libfaketime.so.1"
)


class Environment:
    """One system whose API and workers reach Valkey and S3 only by two proxies."""

    def __init__(self, state: Path, *, workers: int, seed: int, **env: str) -> None:
        """``env``: settings in addition to the common ones."""
        self._count = workers
        self._state = state
        state.mkdir(parents=True, exist_ok=True)
        self.shift_clock("valkey", 0)
        self.system = System(
            state,
            workers=0,
            files=FILES,
            env={**_SETTINGS, **env},
            valkey_env=self._shiftable_clock("valkey"),
        )
        #: Process IDs of workers that were killed, or stopped for longer than a lease may last.
        self.lost_workers: set[int] = set()
        self.receiver = HoldableReceiver()
        self.s3_faults = S3Proxy(_port(self.system.s3_endpoint), seed=seed)
        self.s3_tcp_proxy = TcpProxy(self.s3_faults.port)
        self.valkey_tcp_proxy = TcpProxy(_port(self.system.redis_url))
        self.system.env["S3_ENDPOINT_URL"] = f"http://127.0.0.1:{self.s3_tcp_proxy.port}"
        self.system.env["REDIS_URL"] = f"redis://127.0.0.1:{self.valkey_tcp_proxy.port}/0"
        #: When the API's process was last continued or restarted (monotonic); inf: it cannot run.
        self.api_continued = 0.0
        #: A connection without a proxy, for the checks.
        self.redis: Redis = open_client(self.system.redis_url, timeout=60)

    def __enter__(self) -> Self:
        self.system.start()
        for number in range(1, self._count + 1):
            self._add_worker(f"worker-{number}")
        self.s3_tcp_proxy.delay(S3_DELAY)
        return self

    def _add_worker(self, name: str) -> None:
        self.shift_clock(name, 0)
        self.system.add_worker(release=None, **self._shiftable_clock(name))

    def shift_clock(self, name: str, seconds: int) -> None:
        """Shift the wall clock of a worker or of Valkey within a second, also after a restart."""
        self._clock(name).write_text(f"{seconds:+d}s\n")

    def _shiftable_clock(self, name: str) -> dict[str, str]:
        return {
            "LD_PRELOAD": str(_FAKE_CLOCK),
            "FAKETIME_TIMESTAMP_FILE": str(self._clock(name)),
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_CACHE_DURATION": "1",
        }

    def _clock(self, name: str) -> Path:
        return self._state / f"clock-of-{name}"

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
        """Repair all connections, and stop failing requests."""
        self.s3_faults.heal()
        self.s3_tcp_proxy.restore()
        self.s3_tcp_proxy.delay(S3_DELAY)
        self.valkey_tcp_proxy.restore()

    def restart(self, name: str, *, after: float = 0.0) -> None:
        """Kill a process with SIGKILL, and start it again ``after`` seconds later."""
        self.lost_workers.add(self.system.processes[name].pid)
        if name == "api":
            self.api_continued = math.inf
        self.system.kill_component(name)
        time.sleep(after)
        self.system.start_component(name)
        if name == "api":
            self.api_continued = time.monotonic()


def wait_for(true: Callable[[], bool], what: str, timeout: float, *, every: float = 0.05) -> float:
    """Return the seconds until ``true()``. Raise AssertionError after ``timeout``."""
    started = time.monotonic()
    while not true():
        assert time.monotonic() - started < timeout, f"{what}: not within {timeout:.0f} s"
        time.sleep(every)
    return time.monotonic() - started


def _port(url: str) -> int:
    return int(url.removesuffix("/0").rpartition(":")[2])
