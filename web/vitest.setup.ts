import { beforeEach, vi } from "vitest";

/**
 * Make the jitter of every test reproducible, as fake timers do with the clock: the same seed gives
 * the same pauses. `SEED=7 npm test` runs the tests with other pauses.
 */
beforeEach(() => {
  vi.spyOn(Math, "random").mockImplementation(seededRandom(Number(process.env.SEED ?? 1)));
});

/** Return a generator of numbers from 0 to 1 (mulberry32). */
function seededRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
