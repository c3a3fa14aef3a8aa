import type { Priority, QueueStatistics } from "@longhaul/client";
import { formatSeconds } from "@longhaul/react";

const PRIORITIES: readonly { priority: Priority; name: string }[] = [
  { priority: "high", name: "High" },
  { priority: "normal", name: "Normal" },
  { priority: "low", name: "Low" },
];

/** Number of waiting jobs by priority. */
export function Queue({ statistics }: { statistics: QueueStatistics }) {
  const { waiting, oldestWaitSeconds: oldest } = statistics;
  const max = Math.max(1, ...Object.values(waiting));
  return (
    <section className="card queue" aria-labelledby="queue-title">
      <h2 id="queue-title">Waiting by priority</h2>
      <dl>
        {PRIORITIES.map(({ priority, name }) => (
          <div key={priority}>
            <dt>{name}</dt>
            <dd>
              <span className="meter">
                <span style={{ width: `${(waiting[priority] / max) * 100}%` }} />
              </span>
              <strong>{waiting[priority].toLocaleString("en")}</strong>
            </dd>
          </div>
        ))}
      </dl>
      <p className="small muted">
        {oldest === null ? "Nothing waiting" : `Oldest waiting for ${formatSeconds(oldest)}`}
      </p>
    </section>
  );
}
