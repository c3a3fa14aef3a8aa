import type { Analytics, QueueStatistics, StatisticsSample } from "@longhaul/client";

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
const HOUR = 3_600_000;
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

/** Return the server's samples with those that this page collected, oldest first. */
export function mergeSamples(
  recorded: readonly StatisticsSample[],
  collected: readonly Sample[],
): Sample[] {
  const older = recorded.map((sample) => ({ ...sample, at: Date.parse(sample.at) }));
  return [...older, ...collected].sort((one, other) => one.at - other.at);
}

/**
 * Return the newest `count` columns of `size` milliseconds up to `now`. A rate is the difference of two counters. It is
 * null if the counter decreased, which means that the job store was emptied.
 */
export function bucketsOf(
  samples: readonly Sample[],
  now: number,
  size = BUCKET,
  count = BUCKETS,
): Bucket[] {
  const last = Math.floor(now / size) * size;
  return Array.from({ length: count }, (_, index) => {
    const at = last - (count - 1 - index) * size;
    return bucketOf(samples, at, size);
  });
}

/** Return columns of an hour, with jobs per hour, of the last day. */
export function hoursOf(samples: readonly Sample[], now: number): Bucket[] {
  const perHour = (rate: number | null) => (rate === null ? null : Math.round(rate * 60));
  return bucketsOf(samples, now, HOUR, 24).map((bucket) => ({
    ...bucket,
    completed: perHour(bucket.completed),
    failed: perHour(bucket.failed),
  }));
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

function bucketOf(samples: readonly Sample[], at: number, size: number): Bucket {
  const within = samples.filter((sample) => sample.at >= at && sample.at < at + size);
  const previous = samples.findLast((sample) => sample.at < at && sample.at >= at - size);
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
