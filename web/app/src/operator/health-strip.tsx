import type { Health, QueueStatistics } from "@longhaul/client";
import { Icon } from "../ui/icons.js";
import type { Polled } from "./use-polled.js";

export interface HealthStripProps {
  health: Polled<Health>;
  statistics: Polled<QueueStatistics>;
}

/** Each part of the service, and how fresh what the page shows is. */
export function HealthStrip({ health, statistics }: HealthStripProps) {
  const lost = statistics.error ?? health.error;
  return (
    <div className="health" role="status">
      {health.data &&
        Object.entries(health.data.checks).map(([part, state]) => (
          <span className="part" key={part} data-ok={state === "ok"}>
            <Icon name={state === "ok" ? "check" : "alert"} />
            {part}
            {state !== "ok" && ` ${state}`}
          </span>
        ))}
      {lost && (
        <span className="part" data-ok={false}>
          <Icon name="alert" />
          {lost.message}
        </span>
      )}
    </div>
  );
}
