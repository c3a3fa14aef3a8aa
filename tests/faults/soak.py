"""A long random soak: jobs under load, one fault after the other, and a ledger at the end.

``python -m tests.faults.soak --jobs 2000 --faults 200 --seed 7`` prints a scoreboard; the same seed
gives the same requests and the same faults. Its exit code is 1 when an invariant is broken.
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
from pathlib import Path

from tests.faults.clients import StreamLoop
from tests.faults.environment import Arena
from tests.faults.faults import LINES, PROCESSES, Inject
from tests.faults.invariants import DeliveryOutcome, FileChecksums
from tests.faults.statistics import percentile

#: Seconds after the last fault within which everything has to be finished.
SETTLE = 180.0
#: So long a fault's jobs are waited for before the next one strikes, seconds.
RECOVERY = 60.0
#: One strike in so many is two at once: a process and a line.
DOUBLE = 3
#: One round for so many faults is without any, to tell how long the jobs last by themselves.
CONTROL = 25

Strike = tuple[Inject, ...]


class Soak:
    """Lets jobs in, strikes in the middle of them, and takes the time until all have ended."""

    def __init__(self, arena: Arena, *, jobs: int, faults: int, seed: int) -> None:
        self._arena = arena
        self._faults = faults
        self._random = random.Random(seed)
        self._strikes = plan(faults, self._random)
        #: Jobs that are let in for each fault, and for each round without one.
        self._share = math.ceil(jobs / faults)
        rounds = faults + self._strikes.count(())
        self.ledger = FileChecksums(arena)
        self.crowd = StreamLoop(arena, jobs=self._share * rounds, users=40, seed=seed)
        #: Fault -> seconds from its mending until every job let in before had ended.
        self.recovered: dict[str, list[float]] = defaultdict(list)
        self._let_in = 0

    def run(self, *, pause: float) -> None:
        """``pause``: mean seconds of rest between two strikes."""
        self.crowd.start()
        done = 0
        for strike in self._strikes:
            done += len(strike)
            self._admit(self._share * max(1, len(strike)))
            # They are accepted and begun meanwhile.
            time.sleep(self._random.uniform(0.3, 1.5))
            started = time.monotonic()
            self._strike(strike)
            mended = time.monotonic()
            recovery = self._wait_for_the_struck(mended)
            self.recovered[_name(strike)].append(recovery)
            print(
                f"{done:4}/{self._faults}  {' + '.join(each.__name__ for each in strike):46} "
                f"broken {mended - started:5.1f} s, back after {recovery:5.1f} s",
                flush=True,
            )
            time.sleep(self._random.uniform(0, pause * 2))
        self._arena.heal()
        self.crowd.close()

    def _admit(self, jobs: int) -> None:
        self.crowd.let_in(jobs)
        self._let_in += jobs

    def _strike(self, chosen: Strike) -> None:
        """All at once, each with its own chance, so that a seed gives the same whoever is first."""
        seeds = [self._random.random() for _ in chosen]
        threads = [
            threading.Thread(target=inject, args=(self._arena, random.Random(seed)))
            for inject, seed in zip(chosen, seeds, strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _wait_for_the_struck(self, mended: float) -> float:
        struck = self.crowd.posted[: self._let_in]
        while time.monotonic() - mended < RECOVERY and not self.ledger.all_ended(struck):
            time.sleep(0.05)
        return time.monotonic() - mended


def plan(faults: int, rng: random.Random) -> list[Strike]:
    """Strikes of so many faults in all, with some rounds without any among them."""
    strikes: list[Strike] = []
    left = faults
    while left:
        strike: Strike = (rng.choice(PROCESSES + LINES),)
        if left > 1 and rng.randrange(DOUBLE) == 0:
            strike = (rng.choice(PROCESSES), rng.choice(LINES))
        strikes.append(strike)
        left -= len(strike)
    controls = math.ceil(faults / CONTROL)
    for number in range(controls):
        strikes.insert(number * len(strikes) // controls, ())
    return strikes


def _name(strike: Strike) -> str:
    if len(strike) > 1:
        return "two at once"
    return strike[0].__name__ if strike else "(no fault)"


def soak(state: Path, *, jobs: int, faults: int, seed: int, pause: float) -> DeliveryOutcome:
    """Run it and print the scoreboard."""
    with Arena(state, workers=3, seed=seed) as arena:
        run = Soak(arena, jobs=jobs, faults=faults, seed=seed)
        run.run(pause=pause)
        settled = run.ledger.settle(run.crowd, SETTLE)
        verdict = run.ledger.judge(run.crowd)
        _print_scoreboard(run.recovered)
        print(f"\nfailed S3 requests: {dict(arena.s3_faults.injected)}")
        refusals = [posted.slowest_refusal for posted in run.crowd.posted]
        print(f"slowest 503 or 429: {max(refusals):.1f} s")
        print(f"settled {settled:.1f} s after the last fault")
        print(verdict)
    return verdict


def _print_scoreboard(recovered: dict[str, list[float]]) -> None:
    print("\nseconds from the mending until every job that was struck had ended")
    print(f"{'fault':28} {'times':>5} {'p50':>6} {'p99':>6}")
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
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as state:
        verdict = soak(
            Path(state), jobs=args.jobs, faults=args.faults, seed=args.seed, pause=args.pause
        )
    print(f"{time.monotonic() - began:.0f} s in all")
    return 0 if verdict.clean else 1


if __name__ == "__main__":
    sys.exit(main())
