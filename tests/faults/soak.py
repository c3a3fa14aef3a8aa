"""A long random soak: jobs under load, one fault after the other, and a ledger at the end.

``python -m tests.faults.soak --jobs 2000 --faults 200 --seed 7`` prints a scoreboard; the same seed
gives the same requests and the same faults. Its exit code is 1 when an invariant is broken.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from tests.faults.arena import Arena
from tests.faults.crowd import Crowd
from tests.faults.faults import ALL
from tests.faults.ledger import Ledger, Verdict

#: Seconds after the last fault within which everything has to be finished.
SETTLE: float = 180.0


def soak(state: Path, *, jobs: int, faults: int, seed: int, pause: float) -> Verdict:
    """Run it and print the scoreboard. ``pause``: seconds of rest between two faults."""
    rng = random.Random(seed)
    recovered: dict[str, list[float]] = defaultdict(list)
    with Arena(state, workers=3, seed=seed) as arena:
        ledger = Ledger(arena)
        crowd = Crowd(arena, jobs=jobs, users=40, seed=seed, pause=faults * (pause + 3) / jobs * 4)
        crowd.start()
        for number in range(faults):
            inject = rng.choice(ALL)
            started = time.monotonic()
            inject(arena, rng)
            mended = time.monotonic()
            recovered[inject.__name__].append(_until_next_end(ledger, mended))
            print(
                f"{number + 1:4}/{faults}  {inject.__name__:26} broken {mended - started:5.1f} s, "
                f"{len(crowd.accepted())} accepted",
                flush=True,
            )
            time.sleep(rng.uniform(0, pause * 2))
        arena.heal()
        settled = ledger.settle(crowd, SETTLE + (0 if crowd.done else jobs * 0.2))
        # Webhooks and the clean-up of what dead attempts left have their own pace.
        time.sleep(5)
        verdict = ledger.judge(crowd)
        _print_scoreboard(verdict, recovered, settled, dict(arena.s3_faults.injected))
    return verdict


def _until_next_end(ledger: Ledger, since: float) -> float:
    """Seconds until any job ends after a fault was mended: when the system works again."""
    ledger.follow()
    before = sum(changes[-1].terminal for changes in ledger.changes.values())
    while time.monotonic() - since < 30:
        ledger.follow()
        if sum(changes[-1].terminal for changes in ledger.changes.values()) > before:
            break
        time.sleep(0.1)
    return time.monotonic() - since


def _print_scoreboard(
    verdict: Verdict, recovered: dict[str, list[float]], settled: float, injected: dict[str, int]
) -> None:
    print(f"\n{'fault':28} {'times':>5} {'p50 s':>7} {'max s':>7}   until a job ends again")
    for name, seconds in sorted(recovered.items()):
        print(f"{name:28} {len(seconds):5} {statistics.median(seconds):7.1f} {max(seconds):7.1f}")
    print(f"\nfailed S3 requests: {injected}")
    print(f"settled {settled:.1f} s after the last fault")
    print(f"jobs {verdict.jobs}: {dict(verdict.outcomes)}")
    for name in ("lost", "twice", "stuck", "wrong", "left_behind"):
        found = getattr(verdict, name)
        print(f"{name:12} {len(found):4}  {'; '.join(found[:5])}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=2_000)
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--pause", type=float, default=4.0, help="mean seconds between two faults")
    args = parser.parse_args()
    print(f"seed {args.seed}")
    with tempfile.TemporaryDirectory() as state:
        verdict = soak(
            Path(state), jobs=args.jobs, faults=args.faults, seed=args.seed, pause=args.pause
        )
    return 0 if verdict.clean else 1


if __name__ == "__main__":
    sys.exit(main())
