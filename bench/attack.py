"""Attacks the API as one client inside all limits, while other clients poll.

``python -m bench.attack --seconds 60`` runs each attack against two API processes, directly and
through the production nginx. It passes (exit code 0) when, during every attack, 99% of the other
clients' polls took less than 100 ms and all of them got their job, and the memory of the API is
back to where it was afterwards.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

import psutil

from bench import attacks
from bench.attacks import ATTACKS, Target, get, job, send, wait_during_restarts
from bench.servers import ROOT, make_jobs, responds
from stack.nginx import start_nginx
from stack.process import Process, free_port, wait_until
from stack.services import start_valkey

#: The other clients, each with an address of its own, and the seconds between two polls of one.
POLLERS: Final = tuple(f"127.0.0.{number}" for number in range(10, 15))
POLL_INTERVAL: Final = 0.1
#: Seconds after which a poll counts as failed.
POLL_TIMEOUT: Final = 5.0
MAX_P99_MS: Final = 100.0
#: Growth of the memory that counts as none, in MB for each process: caches and pools of the
#: allocator, which are filled once. Eight checks at a time leave 9 MB, and no more if repeated.
MAX_GROWTH_MB: Final = 12.0
#: Seconds that an attacker may need to start and to report.
ATTACKER_GRACE: Final = 20.0
#: Seconds until the memory has to be back.
SETTLE: Final = 30.0
#: Processes of the API.
PROCESSES: Final = 2
#: Of one user.
JOBS: Final = 1_400
#: Seconds of polls before the memory is measured.
WARM_UP: Final = 2.0
#: Seconds between two restarts of the API's processes.
RESTART_EVERY: Final = 5.0

SETTINGS: Final = {
    "S3_ENDPOINT_URL": "http://127.0.0.1:1",
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "LOG_LEVEL": "WARNING",
    "MAX_ACTIVE_JOBS": "100000000",
}


def _attack(name: str, target: Target, seconds: float, report: Connection) -> None:
    """Run an attack and report what it got.

    It has a process of its own, so that it does not delay the polls.
    """

    async def run() -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await ATTACKS[name](target)

    asyncio.run(run())
    report.send(attacks.seen)


@dataclass(kw_only=True)
class Result:
    """What happened to the other clients and to the API during one attack."""

    attack: str
    #: Milliseconds of the polls that got their job.
    times: list[float] = field(default_factory=list)
    #: Polls that did not, by what they got.
    failures: Counter[str] = field(default_factory=Counter)
    #: What the attacker did and got: connections, and responses by status.
    attacker: Counter[str] = field(default_factory=Counter)
    memory_before: float = 0.0
    memory_during: float = 0.0
    memory_after: float = 0.0

    @property
    def p99(self) -> float:
        """Return the 99th percentile in milliseconds; infinite without any poll."""
        times = sorted(self.times)
        return times[int(len(times) * 0.99)] if times else float("inf")

    def problems(self, *, max_p99: float = MAX_P99_MS) -> list[str]:
        """Return what is not as it should be."""
        found = [f"{count} polls: {what}" for what, count in self.failures.items()]
        if not self.attacker["connections"]:
            found.append("the attacker opened no connection")
        if self.p99 >= max_p99:
            found.append(f"p99 of polls: {self.p99:.0f} ms")
        if self.memory_after > self.memory_before + MAX_GROWTH_MB * PROCESSES:
            found.append(f"memory grew from {self.memory_before:.0f} to {self.memory_after:.0f} MB")
        return found

    def __str__(self) -> str:
        return (
            f"{self.attack:<22} {len(self.times):>6} polls, p99 {self.p99:6.1f} ms, "
            f"max {max(self.times, default=0):6.1f} ms; memory {self.memory_before:.0f}, at most "
            f"{self.memory_during:.0f}, then {self.memory_after:.0f} MB; attacker: "
            + ", ".join(f"{count} {what}" for what, count in sorted(self.attacker.items()))
        )


class Environment:
    """A running API, and the port that clients connect to."""

    def __init__(self, api: Process, target: Target) -> None:
        self._api = psutil.Process(api.pid)
        self._target = target
        self._attackers = itertools.count(1)

    def measure(self, attack: str, seconds: float) -> Result:
        """Run an attack while the other clients poll."""
        return asyncio.run(self._measure(attack, seconds))

    async def _measure(self, attack: str, seconds: float) -> Result:
        result = Result(attack=attack)
        await self._poll_for(WARM_UP, Result(attack="none"))
        result.memory_before = self._memory()
        # No attack is limited by what the one before it has used.
        target = replace(self._target, attacker=f"127.0.1.{next(self._attackers)}")
        context = multiprocessing.get_context("spawn")
        receiver, report = context.Pipe(duplex=False)
        process = context.Process(target=_attack, args=(attack, target, seconds, report))
        process.start()
        others = [asyncio.create_task(self._watch_memory(result))]
        if ATTACKS[attack] is wait_during_restarts:
            others.append(asyncio.create_task(self._restart()))
        try:
            await self._poll_for(seconds, result)
        finally:
            for task in others:
                task.cancel()
            # It started later than the polls.
            if receiver.poll(ATTACKER_GRACE):
                result.attacker = receiver.recv()
            process.terminate()
            process.join()
        deadline = time.monotonic() + SETTLE
        while True:
            result.memory_after = self._memory()
            if not result.problems(max_p99=float("inf")) or time.monotonic() > deadline:
                return result
            await asyncio.sleep(1)

    async def _poll_for(self, seconds: float, result: Result) -> None:
        until = time.monotonic() + seconds
        async with asyncio.TaskGroup() as group:
            for number, address in enumerate(POLLERS):
                path = f"/v1/download/status/{job(self._target, number)}"
                group.create_task(self._poll(path, address, until, result))

    async def _poll(self, path: str, address: str, until: float, result: Result) -> None:
        """Poll at fixed times, whether or not the polls before have ended.

        A client that waited for them would count an API that hangs as one slow poll.
        """
        request = get(path, "Connection: close\r\n")
        due = time.monotonic()
        async with asyncio.TaskGroup() as group:
            while due < until:
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                group.create_task(self._poll_once(request, address, due, result))
                due += POLL_INTERVAL

    async def _poll_once(self, request: bytes, address: str, due: float, result: Result) -> None:
        try:
            async with asyncio.timeout(POLL_TIMEOUT):
                status = await send(self._target, request, address)
        except OSError as error:
            result.failures[type(error).__name__] += 1
        else:
            if status == 200:
                result.times.append((time.monotonic() - due) * 1000)
            else:
                result.failures[str(status)] += 1

    async def _watch_memory(self, result: Result) -> None:
        while True:
            await asyncio.sleep(1)
            result.memory_during = max(result.memory_during, self._memory())

    async def _restart(self) -> None:
        """Stop one of the API's processes after the other; the master starts new ones."""
        while True:
            await asyncio.sleep(RESTART_EVERY)
            oldest = min(self._api.children(), key=psutil.Process.create_time)
            os.kill(oldest.pid, signal.SIGTERM)

    def _memory(self) -> float:
        """Return the resident memory of the API's processes in MB, without the master's."""
        total = 0
        for process in self._api.children():
            with suppress(psutil.NoSuchProcess):
                total += process.memory_info().rss
        return total / 1e6


@contextmanager
def environment(folder: Path, *, through_nginx: bool) -> Iterator[Environment]:
    """Run the API with its default limits; also the production nginx in front, if wanted."""
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as running:
        valkey = start_valkey(folder / "valkey")
        running.callback(valkey.process.stop)
        port = free_port()
        env = {
            **SETTINGS,
            "REDIS_URL": valkey.url,
            "PORT": str(port),
            "TRUSTED_PROXIES": str(int(through_nginx)),
            # While one process stops or starts, the other one serves.
            "WEB_CONCURRENCY": str(PROCESSES),
        }
        command = [sys.executable, "-m", "gunicorn", "-c", "api/gunicorn_conf.py", "api.wsgi:app"]
        api = Process("api", command, env=env, cwd=ROOT, output=folder / "log")
        running.callback(api.stop, 20)
        wait_until(lambda: responds(port, "/health/live"), "the API", 60)
        if through_nginx:
            nginx = start_nginx(folder / "nginx", upstream=f"127.0.0.1:{port}")
            running.callback(nginx.process.stop, 5)
            port = nginx.port
        # One user with many jobs: a list of them that is filtered by state has to read them all.
        yield Environment(api, Target(port=port, job_ids=tuple(make_jobs(valkey.url, JOBS))))


def main() -> int:
    """Run the attacks; return 0 when every check passes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="of each attack")
    parser.add_argument("--attacks", default=",".join(ATTACKS), help="comma-separated")
    parser.add_argument("--ways", default="direct,nginx", help="comma-separated")
    options = parser.parse_args()
    failed = 0
    for way, attack in itertools.product(options.ways.split(","), options.attacks.split(",")):
        # A fresh process each time: what one attack leaves must not hide what the next one does.
        with (
            tempfile.TemporaryDirectory() as folder,
            environment(Path(folder), through_nginx=way == "nginx") as running,
        ):
            result = running.measure(attack, options.seconds)
        print(f"{way:<7} {result}", flush=True)
        for problem in result.problems():
            failed += 1
            print(f"  FAILED: {problem}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
