import type { QueueStatistics } from "@longhaul/client";

interface Tile {
  name: string;
  value: string;
  note?: string | undefined;
  tone?: "warn" | "danger" | undefined;
  /** What is counted. */
  title?: string;
}

const ENDED = "Since the job store was created. A job that is retried counts each time it ends.";

/** The most important statistics. */
export function Tiles({ statistics }: { statistics: QueueStatistics }) {
  return (
    <dl className="tiles">
      {tilesOf(statistics).map(({ name, value, note, tone, title }) => (
        <div className="card tile" key={name} data-tone={tone} title={title}>
          <dt>{name}</dt>
          <dd>
            <strong>{value}</strong>
            {note && <span className="small muted">{note}</span>}
          </dd>
        </div>
      ))}
    </dl>
  );
}

function tilesOf(now: QueueStatistics): Tile[] {
  const number = (value: number) => value.toLocaleString("en");
  const rate = now.successRate;
  return [
    { name: "Waiting", value: number(now.totalWaiting) },
    { name: "In progress", value: number(now.processing) },
    { name: "Retrying", value: number(now.retrying), tone: now.retrying ? "warn" : undefined },
    {
      name: "Completed",
      title: ENDED,
      value: number(now.completed),
      note: rate === null ? undefined : `${(Math.floor(rate * 1_000) / 10).toFixed(1)}% successful`,
    },
    {
      name: "Failed",
      title: ENDED,
      value: number(now.failed),
      note: `${number(now.cancelled)} cancelled`,
    },
    {
      name: "Workers",
      value: number(now.workers),
      note: now.workers ? undefined : "no jobs will start",
      tone: now.workers ? undefined : "danger",
    },
  ];
}
