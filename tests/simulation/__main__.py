"""Simulates the system from many seeds: ``python -m tests.simulation``.

Prints the trace of the first run that violates an invariant, shrunk to few events.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import sys
import time
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial

from tests.simulation.mutations import MUTATIONS
from tests.simulation.scenario import Scenario, scenario_of
from tests.simulation.shrinking import shrink
from tests.simulation.world import RunResult, run

#: Lines of a trace that are printed.
MAX_LINES = 400
#: New objects that start a collection of the youngest generation.
GC_THRESHOLD = 50_000


@dataclass(frozen=True)
class Summary:
    """What one process simulated."""

    runs: int
    lives: int
    cpu_seconds: float
    #: The first seed that failed.
    failed: int | None


def simulate(first: int, step: int, *, seconds: float, max_runs: int, mutation: str) -> Summary:
    """Simulate seeds until the time is up or one fails."""
    # A run leaves few cycles behind, and walking through all modules for them takes time.
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)
    deadline, cpu = time.perf_counter() + seconds, time.process_time()
    runs = lives = 0
    with MUTATIONS[mutation]() if mutation else nullcontext():
        for seed in range(first, first + step * max_runs, step):
            if time.perf_counter() > deadline:
                break
            result = run(scenario_of(seed))
            runs, lives = runs + 1, lives + result.lives
            if result.violation is not None:
                return Summary(runs, lives, time.process_time() - cpu, seed)
    return Summary(runs, lives, time.process_time() - cpu, None)


def report(seed: int, mutation: str, shrink_seconds: float) -> None:
    """Print what happened in a failing run."""
    with MUTATIONS[mutation]() if mutation else nullcontext():
        scenario = scenario_of(seed)
        result = run(scenario)
        if result.violation is None:
            print(f"seed {seed}: no violation")
            return
        small, small_result = shrink(scenario, result, seconds=shrink_seconds)
    _print(seed, len(scenario.events), small, small_result, mutation)


def _print(seed: int, events: int, small: Scenario, result: RunResult, mutation: str) -> None:
    lines = result.trace.lines()
    if len(lines) > MAX_LINES:
        print(f"… {len(lines) - MAX_LINES} lines left out")
    print("\n".join(lines[-MAX_LINES:]))
    print(f"\n{len(small.events)} of {events} events are enough:")
    print("\n".join(f"  {event.at:8.3f} s  {event}" for event in small.events))
    print(f"\nViolation: {result.violation}")
    again = f"make simulate SEED={seed}" + (f" MUTATION={mutation}" if mutation else "")
    print(f"To repeat it: {again}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--first", type=int, help="first seed; by default derived from the time")
    parser.add_argument("--seed", type=int, help="simulate only this seed")
    parser.add_argument("--shrink", type=float, default=60.0, help="seconds for shrinking")
    parser.add_argument("--mutation", default="", choices=["", *MUTATIONS])
    return parser.parse_args()


def main() -> None:
    arguments = _arguments()
    if arguments.seed is not None:
        report(arguments.seed, arguments.mutation, arguments.shrink)
        return
    first = arguments.first if arguments.first is not None else int(time.time())
    print(f"Simulating from seed {first} for {arguments.minutes:g} minutes …", flush=True)
    started = time.perf_counter()
    one = partial(
        simulate,
        step=arguments.processes,
        seconds=arguments.minutes * 60,
        max_runs=sys.maxsize // 2**20,
        mutation=arguments.mutation,
    )
    summaries: list[Summary] = []
    with multiprocessing.Pool(arguments.processes) as pool:
        for summary in pool.imap_unordered(one, range(first, first + arguments.processes)):
            summaries.append(summary)
            if summary.failed is not None:
                # The others are terminated: their runs are not part of the figures.
                break
    failed = [each.failed for each in summaries if each.failed is not None]
    if failed:
        print(f"seed {failed[0]} failed, shrinking it …", flush=True)
        report(failed[0], arguments.mutation, arguments.shrink)
    lives, cpu = sum(each.lives for each in summaries), sum(each.cpu_seconds for each in summaries)
    print(
        f"{sum(each.runs for each in summaries)} runs from seed {first}, {lives} job lives, "
        f"{lives / cpu:.0f} a second and core, {time.perf_counter() - started:.0f} s, "
        f"violations: {len(failed)}"
    )
    sys.exit(bool(failed))


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":
        # The order of sets must not differ between two runs of the same seed.
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]])  # noqa: S606
    main()
