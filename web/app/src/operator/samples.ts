import type { Analytics, QueueStatistics } from "@longhaul/client";

/** The counters at a time; `at` is in milliseconds since 1970. */
export interface Sample {
  at: number;
  completed: number;
  failed: number;
  p50: number | null;
  p95: number | null;
  p99: number | null;
}

/** A column of a chart: `BUCKET` milliseconds or an hour, from `at`. */
export interface Bucket {
  at: number;
  /** Jobs per minute or per hour; null if unknown. */
  completed: number | null;
  failed: number | null;
  /** Milliseconds. */
  p50: number | null;
  p95: number | null;
  p99: number | null;
}

export const BUCKET = 15_000;
export const BUCKETS = 40;
const MINUTE = 60_000;
const MAX_SAMPLES = (BUCKET * (BUCKETS + 1)) / 1_000;

export function sampleOf(statistics: QueueStatistics, at: number): Sample {
  const { completed, failed, durations } = statistics;
  return { at, completed, failed, ...durations };
}

/** Add a sample, and remove samples that are too old for the chart. */
export function addSample(samples: readonly Sample[], sample: Sample): Sample[] {
  const since = sample.at - BUCKET * (BUCKETS + 1);
  return [...samples.filter(({ at }) => at > since && at < sample.at), sample].slice(-MAX_SAMPLES);
}

/**
 * Return the newest `BUCKETS` columns up to `now`. A rate is the difference of two counters. It is
 * null if the counter decreased, which means that the job store was emptied.
 */
export function bucketsOf(samples: readonly Sample[], now: number): Bucket[] {
  const last = Math.floor(now / BUCKET) * BUCKET;
  return Array.from({ length: BUCKETS }, (_, index) => {
    const at = last - (BUCKETS - 1 - index) * BUCKET;
    return bucketOf(samples, at);
  });
}

/** Return a column for each hour in the history. */
export function columnsOf({ hours }: Analytics): Bucket[] {
  return hours.map(({ start, completed, failed, durations }) => ({
    at: Date.parse(start),
    completed,
    failed,
    ...durations,
  }));
}

function bucketOf(samples: readonly Sample[], at: number): Bucket {
  const within = samples.filter((sample) => sample.at >= at && sample.at < at + BUCKET);
  const previous = samples.findLast((sample) => sample.at < at && sample.at >= at - BUCKET);
  const first = previous ?? within[0];
  const last = within.at(-1);
  const rate = (counter: "completed" | "failed") => {
    if (!first || !last || last.at === first.at || last[counter] < first[counter]) return null;
    return ((last[counter] - first[counter]) * MINUTE) / (last.at - first.at);
  };
  return {
    at,
    completed: rate("completed"),
    failed: rate("failed"),
    p50: last?.p50 ?? null,
    p95: last?.p95 ?? null,
    p99: last?.p99 ?? null,
  };
}
