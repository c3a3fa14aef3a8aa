import type { QueueStatistics } from "@longhaul/client";
import { formatSeconds, useLonghaul } from "@longhaul/react";
import { useCallback, useState } from "react";
import { Segments } from "../ui/segments.js";
import { Chart } from "./chart.js";
import { type Bucket, bucketsOf, columnsOf } from "./history.js";
import { useHistory } from "./use-history.js";
import { usePolled } from "./use-polled.js";

type Range = "minutes" | "hours";

const HOURS = 24;
const HOURS_EVERY = 60_000;
const RANGES: readonly { value: Range; label: string }[] = [
  { value: "minutes", label: "10 minutes" },
  { value: "hours", label: `${HOURS} hours` },
];

export interface ChartsProps {
  statistics: QueueStatistics;
  /** When the statistics came, in milliseconds since 1970. */
  at: number;
}

/**
 * Throughput and durations: what this page saw in the last ten minutes, or what the service has
 * recorded of the last day, where it keeps a history.
 */
export function Charts({ statistics, at }: ChartsProps) {
  const { operator } = useLonghaul();
  const [range, setRange] = useState<Range>("minutes");
  const seen = useHistory(statistics, at);
  const ask = useCallback((stop: AbortSignal) => operator.analytics(HOURS, stop), [operator]);
  const recorded = usePolled(ask, HOURS_EVERY).data;
  const hourly = recorded !== null && range === "hours";
  const columns = hourly ? columnsOf(recorded) : bucketsOf(seen, at);
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
          quiet
        />
      )}
      <Chart
        title={hourly ? "Finished per hour" : "Finished per minute"}
        kind="bars"
        times={times}
        show={showRate}
        nothing="Gathering since this page was opened."
        series={[
          { name: "completed", tone: "1", values: values("completed") },
          { name: "failed", tone: "danger", values: values("failed") },
        ]}
      />
      <Chart
        title="Time to the archive"
        kind="lines"
        times={times}
        show={showDuration}
        nothing={hourly ? "No job was completed in this time." : "No job has been completed yet."}
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
