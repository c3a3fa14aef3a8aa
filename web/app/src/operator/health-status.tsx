import type { Connection, Health } from "@longhaul/client";
import { ConnectionBadge } from "../ui/connection-badge.js";
import { Icon } from "../ui/icons.js";
import type { Polled } from "./use-polled.js";

export interface HealthStatusProps {
  health: Polled<Health>;
  connection: Connection;
}

/** The result of each health check, and how updates arrive. */
export function HealthStatus({ health, connection }: HealthStatusProps) {
  return (
    <div className="health" role="status">
      <ConnectionBadge connection={connection} />
      {health.data &&
        Object.entries(health.data.checks).map(([check, state]) => (
          <span className="part" key={check} data-state={state === "ok" ? "ok" : stateOf(state)}>
            <Icon name={state === "ok" ? "check" : state === "off" ? "minus" : "alert"} />
            {check}
            {state !== "ok" && ` ${state}`}
          </span>
        ))}
    </div>
  );
}

function stateOf(state: string): "off" | "ill" {
  return state === "off" ? "off" : "ill";
}
