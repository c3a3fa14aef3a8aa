import type { QueueStatistics } from "@longhaul/client";
import { formatSeconds, useLonghaul } from "@longhaul/react";
import { useCallback, useState } from "react";
import { Segments } from "../ui/segments.js";
import { Chart } from "./chart.js";
import { type Bucket, bucketsOf, columnsOf, hoursOf, mergeSamples } from "./samples.js";
import { usePolled } from "./use-polled.js";
import { useStatisticsSamples } from "./use-samples.js";

type Range = "minutes" | "hours" | "day";

const HOURS = 24;
const RECORDED_INTERVAL = 60_000;
/** The columns of the last three hours, in milliseconds, and their number. */
const COLUMN = 300_000;
const COLUMNS = 36;
const RANGES: readonly { value: Range; label: string }[] = [
  { value: "minutes", label: "10 minutes" },
  { value: "hours", label: "3 hours" },
  { value: "day", label: `${HOURS} hours` },
];

export interface ChartsProps {
  statistics: QueueStatistics;
  /** When the statistics arrived, in milliseconds since 1970. */
  at: number;
}

/**
 * Throughput and durations: of the last ten minutes, as collected by this page, or of the last
 * hours, as the server recorded them.
 */
export function Charts({ statistics, at }: ChartsProps) {
  const { operator } = useLonghaul();
  const [chosen, setRange] = useState<Range>("hours");
  const collected = useStatisticsSamples(statistics, at);
  const minutes = chosen === "day" ? HOURS * 60 : 180;
  const request = useCallback(
    (stop: AbortSignal) => operator.samples(minutes, stop),
    [operator, minutes],
  );
  const recorded = usePolled(request, RECORDED_INTERVAL).data;
  const requestHours = useCallback(
    (stop: AbortSignal) => operator.analytics(HOURS, stop),
    [operator],
  );
  const analytics = usePolled(requestHours, RECORDED_INTERVAL).data;
  // Users who are not operators see what this page collects.
  const range = recorded ? chosen : "minutes";
  const hourly = range === "day";
  const samples = mergeSamples(recorded ?? [], collected);
  const columns = {
    minutes: () => bucketsOf(collected, at),
    hours: () => bucketsOf(samples, at, COLUMN, COLUMNS),
    day: () => (analytics ? columnsOf(analytics) : hoursOf(samples, at)),
  }[range]();
  const times = columns.map(({ at }) => at);
  const values = (name: Exclude<keyof Bucket, "at">) => columns.map((column) => column[name]);
  return (
    <section className="card charts" aria-labelledby="charts-title">
      <h2 id="charts-title">Over time</h2>
      {recorded && (
        <Segments<Range>
          legend="Time shown"
          options={RANGES}
          value={range}
          onChange={setRange}
          hiddenLegend
        />
      )}
      <Chart
        title={hourly ? "Finished per hour" : "Finished per minute"}
        kind="bars"
        times={times}
        format={showRate}
        emptyText="Collecting data since you opened this page."
        series={[
          { name: "completed", tone: "1", values: values("completed") },
          { name: "failed", tone: "danger", values: values("failed") },
        ]}
      />
      <Chart
        title="Time to completion"
        kind="lines"
        times={times}
        format={showDuration}
        emptyText={
          hourly ? "No jobs were completed in this time." : "No jobs have been completed yet."
        }
        series={[
          { name: "p50", tone: "1", values: values("p50") },
          { name: "p95", tone: "2", values: values("p95") },
          { name: "p99", tone: "3", values: values("p99") },
        ]}
      />
    </section>
  );
}

function showRate(rate: number): string {
  if (rate >= 10_000) return `${Math.round(rate / 1_000)}k`;
  return rate > 0 && rate < 10 ? rate.toFixed(1).replace(/\.0$/, "") : Math.round(rate).toString();
}

function showDuration(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  return ms < 10_000 ? `${(ms / 1_000).toFixed(1)} s` : formatSeconds(ms / 1_000);
}
