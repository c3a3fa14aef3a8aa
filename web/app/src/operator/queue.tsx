import type { Priority, QueueStatistics } from "@longhaul/client";
import { formatSeconds } from "@longhaul/react";

const LANES: readonly { priority: Priority; name: string }[] = [
  { priority: "high", name: "High" },
  { priority: "normal", name: "Normal" },
  { priority: "low", name: "Low" },
];

/** Who waits, by priority. */
export function Queue({ statistics }: { statistics: QueueStatistics }) {
  const { waiting, oldestWaitSeconds: oldest } = statistics;
  const most = Math.max(1, ...Object.values(waiting));
  return (
    <section className="card queue" aria-labelledby="queue-title">
      <h2 id="queue-title">Waiting by priority</h2>
      <dl>
        {LANES.map(({ priority, name }) => (
          <div key={priority}>
            <dt>{name}</dt>
            <dd>
              <span className="lane">
                <span style={{ width: `${(waiting[priority] / most) * 100}%` }} />
              </span>
              <strong>{waiting[priority].toLocaleString("en")}</strong>
            </dd>
          </div>
        ))}
      </dl>
      <p className="small muted">
        {oldest === null ? "Nobody waits" : `The oldest has waited ${formatSeconds(oldest)}`}
      </p>
    </section>
  );
}
