import { expect, test } from "vitest";
import {
  addSample,
  BUCKET,
  BUCKETS,
  bucketsOf,
  columnsOf,
  type Sample,
} from "../src/operator/samples.js";

const NONE = { p50: null, p95: null, p99: null };
const START = 1_800_000_000_000 - (1_800_000_000_000 % BUCKET);
const sample = (seconds: number, completed: number, failed = 0): Sample => ({
  at: START + seconds * 1_000,
  completed,
  failed,
  ...NONE,
});

test("a rate is the difference of two counters, per minute", () => {
  const samples = [sample(0, 100), sample(5, 102), sample(10, 105)];
  expect(bucketsOf(samples, START + 10_000).at(-1)?.completed).toBe(30);
});

test("changes between two buckets count for the later one", () => {
  const samples = [sample(14, 100), sample(16, 110), sample(24, 110)];
  expect(bucketsOf(samples, START + 24_000).at(-1)?.completed).toBe(60);
});

test("buckets without samples are null", () => {
  const buckets = bucketsOf([sample(0, 100), sample(60, 400)], START + 60_000);
  expect(buckets.map(({ completed }) => completed)).toEqual(Array(BUCKETS).fill(null));
});

test("counters that were reset give no rate", () => {
  const buckets = bucketsOf([sample(0, 100), sample(5, 3)], START + 5_000);
  expect(buckets.at(-1)?.completed).toBeNull();
});

test("old samples are removed", () => {
  let samples: Sample[] = [];
  for (let second = 0; second < 3_600; second += 2) {
    samples = addSample(samples, sample(second, second));
  }
  expect(samples.length).toBeLessThan(400);
  expect(samples.at(-1)?.completed).toBe(3_598);
});

test("each recorded hour is a column, also without completed jobs", () => {
  const hour = { created: 5, cancelled: 0, retried: 1, bytes: 10, successRate: null };
  const unknown = { avg: null, p50: null, p95: null, p99: null };
  const columns = columnsOf({
    hours: [
      { ...hour, start: "2026-03-01T12:00:00.000Z", completed: 4, failed: 1, durations: unknown },
      { ...hour, start: "2026-03-01T13:00:00.000Z", completed: 0, failed: 0, durations: unknown },
    ],
  });
  const noon = Date.UTC(2026, 2, 1, 12);
  expect(columns).toEqual([
    { at: noon, completed: 4, failed: 1, ...unknown },
    { at: noon + 3_600_000, completed: 0, failed: 0, ...unknown },
  ]);
});
