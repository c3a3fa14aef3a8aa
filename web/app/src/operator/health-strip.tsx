import type { Connection, Health } from "@longhaul/client";
import { ConnectionBadge } from "../ui/connection-badge.js";
import { Icon } from "../ui/icons.js";
import type { Polled } from "./use-polled.js";

export interface HealthStripProps {
  health: Polled<Health>;
  connection: Connection;
  /** Why the page shows nothing new. */
  trouble: Error | null;
}

/** Each part of the service, and whether what the page shows is fresh. */
export function HealthStrip({ health, connection, trouble }: HealthStripProps) {
  const lost = trouble ?? health.error;
  return (
    <div className="health" role="status">
      <ConnectionBadge connection={connection} />
      {health.data &&
        Object.entries(health.data.checks).map(([part, state]) => (
          <span className="part" key={part} data-state={state === "ok" ? "ok" : stateOf(state)}>
            <Icon name={state === "ok" ? "check" : state === "off" ? "minus" : "alert"} />
            {part}
            {state !== "ok" && ` ${state}`}
          </span>
        ))}
      {lost && (
        <span className="part" data-state="ill">
          <Icon name="alert" />
          {lost.message}
        </span>
      )}
    </div>
  );
}

function stateOf(state: string): "off" | "ill" {
  return state === "off" ? "off" : "ill";
}
