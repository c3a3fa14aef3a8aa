"""A long random soak: jobs, one fault after the other, and a check of the invariants at the end.

Halfway, the invariants are checked for the jobs so far, and then the job store loses all data.

``python -m tests.faults.soak --jobs 2000 --faults 200 --seed 7`` prints a summary. The same
seed gives the same requests and faults. The exit code is 1 if an invariant is violated.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.faults.clients import LoadClients
from tests.faults.environment import Environment
from tests.faults.faults import LINES, PARTIAL, PROCESSES, Inject, jump_valkey_clock
from tests.faults.invariants import InvariantChecker, InvariantReport
from tests.faults.statistics import percentile

#: Seconds after the last fault within which all jobs have to end.
SETTLE_TIMEOUT = 180.0
#: Maximum of the seconds to wait for the affected jobs before the next fault.
RECOVERY_TIMEOUT = 60.0
#: Every third round, on average, has two faults: a process and a connection.
DOUBLE_EVERY = 3
#: Faults for each round without a fault. Such a round shows how long jobs take by themselves.
FAULTS_PER_CONTROL = 25

FaultRound = tuple[Inject, ...]


class Soak:
    """Posts jobs, injects faults while they run, and measures the time until all have ended."""

    def __init__(
        self,
        environment: Environment,
        fault_rounds: Sequence[FaultRound],
        recovered: dict[str, list[float]],
        *,
        jobs_per_fault: int,
        seed: int,
    ) -> None:
        """``jobs_per_fault``: the same number is posted for each round without a fault.

        ``recovered`` gets, by fault, the seconds from its repair until all jobs that were posted
        before had ended.
        """
        self._environment = environment
        self._random = random.Random(seed)
        self._fault_rounds = fault_rounds
        self._faults = sum(map(len, fault_rounds))
        self._jobs_per_fault = jobs_per_fault
        rounds = self._faults + fault_rounds.count(())
        self.checker = InvariantChecker(environment)
        self.clients = LoadClients(environment, jobs=jobs_per_fault * rounds, users=40, seed=seed)
        self._recovered = recovered
        #: Faults that could not be injected or repaired, and why.
        self.failed_injections: list[str] = []
        self._allowed = 0

    def run(self, *, pause: float) -> None:
        """``pause``: mean seconds between two rounds."""
        self.clients.start()
        done = 0
        for fault_round in self._fault_rounds:
            done += len(fault_round)
            jobs = self._jobs_per_fault * max(1, len(fault_round))
            unended = self.checker.unended(self.clients.posted[: self._allowed])
            first = self._allowed
            self._admit(jobs - jobs // 2)
            # Meanwhile they are accepted and started.
            time.sleep(self._random.uniform(0.3, 1.5))
            # The others are posted while the fault is on: most last at least half a second.
            during = threading.Timer(self._random.uniform(0, 0.4), self._admit, [jobs // 2])
            during.start()
            started = time.monotonic()
            self._inject(fault_round)
            healed = time.monotonic()
            during.join()
            affected = unended + self.clients.posted[first : self._allowed]
            if set(fault_round) & set(PARTIAL):
                self.checker.allow_attempts(affected)
            if jump_valkey_clock in fault_round:
                self.checker.allow_unknown(affected)
            recovery = self._wait_for_affected_jobs(healed)
            self._recovered[_name(fault_round)].append(recovery)
            print(
                f"{done:4}/{self._faults}  {' + '.join(each.__name__ for each in fault_round):46} "
                f"broken {healed - started:5.1f} s, back after {recovery:5.1f} s",
                flush=True,
            )
            time.sleep(self._random.uniform(0, pause * 2))
        self._environment.heal()
        self.clients.close()

    def _admit(self, jobs: int) -> None:
        self.clients.allow(jobs)
        self._allowed += jobs

    def _inject(self, chosen: FaultRound) -> None:
        """Inject the faults together, each with its own random generator, to be reproducible."""
        seeds = [self._random.random() for _ in chosen]
        threads = [
            threading.Thread(target=self._inject_one, args=(inject, random.Random(seed)))
            for inject, seed in zip(chosen, seeds, strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _inject_one(self, inject: Inject, rng: random.Random) -> None:
        try:
            inject(self._environment, rng)
        except Exception as error:  # noqa: BLE001
            self.failed_injections.append(f"{inject.__name__} failed: {error!r}")

    def _wait_for_affected_jobs(self, healed: float) -> float:
        affected = self.clients.posted[: self._allowed]
        while time.monotonic() - healed < RECOVERY_TIMEOUT and not self.checker.all_ended(affected):
            time.sleep(0.05)
        return time.monotonic() - healed


def plan(faults: int, rng: random.Random) -> list[FaultRound]:
    """Return rounds with ``faults`` faults in total, and some without any."""
    singles = _shuffled(PROCESSES + LINES, rng)
    processes, lines = _shuffled(PROCESSES, rng), _shuffled(LINES, rng)
    fault_rounds: list[FaultRound] = []
    remaining = faults
    while remaining:
        fault_round: FaultRound
        if remaining > 1 and rng.randrange(DOUBLE_EVERY) == 0:
            fault_round = (next(processes), next(lines))
        else:
            fault_round = (next(singles),)
        fault_rounds.append(fault_round)
        remaining -= len(fault_round)
    controls = math.ceil(faults / FAULTS_PER_CONTROL)
    for number in range(controls):
        fault_rounds.insert(number * len(fault_rounds) // controls, ())
    return fault_rounds


def _shuffled(faults: Sequence[Inject], rng: random.Random) -> Iterator[Inject]:
    """Yield the faults in random order, each of them before any comes again."""
    while True:
        yield from rng.sample(faults, len(faults))


def _name(fault_round: FaultRound) -> str:
    if len(fault_round) > 1:
        return "two together"
    return fault_round[0].__name__ if fault_round else "(no fault)"


def soak(state: Path, *, jobs: int, faults: int, seed: int, pause: float) -> InvariantReport:
    """Run the soak and print the summary."""
    fault_rounds = plan(faults, random.Random(seed))
    half = len(fault_rounds) // 2
    recovered: dict[str, list[float]] = defaultdict(list)
    report = InvariantReport()
    with Environment(state, workers=3, seed=seed) as environment:
        for number, rounds in enumerate((fault_rounds[:half], fault_rounds[half:])):
            if number:
                print("the job store loses all data", flush=True)
                environment.redis.flushall()
            run = Soak(
                environment,
                rounds,
                recovered,
                jobs_per_fault=math.ceil(jobs / faults),
                seed=2 * seed + number,
            )
            run.run(pause=pause)
            settled = run.checker.wait_until_settled(run.clients, SETTLE_TIMEOUT)
            print(f"waited {settled:.1f} s for the jobs after the last fault", flush=True)
            run.checker.check(run.clients, report)
            report.wrong += run.failed_injections
        run.checker.check_clean_up(report)
        _print_summary(recovered)
        print(f"\nfailed S3 requests: {dict(environment.s3_faults.injected)}")
        print(report)
    return report


def _print_summary(recovered: dict[str, list[float]]) -> None:
    print("\nseconds from the repair until all affected jobs had ended")
    print(f"{'fault':28} {'count':>5} {'p50':>6} {'p99':>6}")
    every = [each for seconds in recovered.values() for each in seconds]
    for name, seconds in [*sorted(recovered.items()), ("all", every)]:
        p50, p99 = percentile(seconds, 50), percentile(seconds, 99)
        print(f"{name:28} {len(seconds):5} {p50:6.1f} {p99:6.1f}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=2_000)
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--pause", type=float, default=0.5, help="mean seconds between two faults")
    args = parser.parse_args()
    print(f"seed {args.seed}", flush=True)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as state:
        report = soak(
            Path(state), jobs=args.jobs, faults=args.faults, seed=args.seed, pause=args.pause
        )
    print(f"{time.monotonic() - started:.0f} s in all")
    return 0 if report.clean else 1


if __name__ == "__main__":
    sys.exit(main())
