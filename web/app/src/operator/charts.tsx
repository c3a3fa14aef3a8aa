import { formatSeconds } from "@longhaul/react";
import { Chart } from "./chart.js";
import { type Bucket, bucketsOf, type Sample } from "./history.js";

/** What this page saw of throughput and durations since it was opened, at most ten minutes. */
export function Charts({ history, now }: { history: readonly Sample[]; now: number }) {
  const buckets = bucketsOf(history, now);
  const times = buckets.map(({ at }) => at);
  const column = (name: Exclude<keyof Bucket, "at">) => buckets.map((bucket) => bucket[name]);
  return (
    <>
      <Chart
        title="Finished a minute"
        kind="bars"
        times={times}
        show={showRate}
        nothing="Gathering since this page was opened."
        series={[
          { name: "completed", tone: "1", values: column("completed") },
          { name: "failed", tone: "danger", values: column("failed") },
        ]}
      />
      <Chart
        title="Time to the archive"
        kind="lines"
        times={times}
        show={showDuration}
        nothing="No job has been completed yet."
        series={[
          { name: "p50", tone: "1", values: column("p50") },
          { name: "p95", tone: "2", values: column("p95") },
          { name: "p99", tone: "3", values: column("p99") },
        ]}
      />
    </>
  );
}

function showRate(rate: number): string {
  return rate > 0 && rate < 10 ? rate.toFixed(1).replace(/\.0$/, "") : Math.round(rate).toString();
}

function showDuration(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  return ms < 10_000 ? `${(ms / 1_000).toFixed(1)} s` : formatSeconds(ms / 1_000);
}
